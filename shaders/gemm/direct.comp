#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#extension GL_KHR_shader_subgroup_basic : require
// C = alpha·op(A)·op(B) + bias + beta·D for every batch, for CPU drivers: op(A) [m,k], op(B) [k,n], C and D [m,n], bias [n].
// There a cache stands where a GPU has shared memory, a lane is an element of a vector register, a load of one address for all lanes is cheap
// and any other is a gather. So a lane holds ROWS rows × 4·QUADS columns of C, gathers its rows of A and reads B, the same for all
// lanes, as scalars: one gather for 4·QUADS products. One workgroup is one subgroup. Indices past the edge are clamped, not
// guarded, and their results not stored: op(B)'s columns may not be fewer than 4 unless TRANS_B.
layout(push_constant, scalar) uniform Args {
    TBuf a;
    TBuf b;
    TBuf bias;              // null or [n]
    TBuf d;                 // null or like C, may be C
    TBuf c;                 // fp32 if OUT_F32
    uint m, n, k;
    uint lda, ldb, ldc;     // distance of rows of A, B as they lie in memory, and of C and D
    uint strideA, strideB;  // distance of batches
    uint batch;
    float alpha;
    float beta;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint QUADS = 16;
layout(constant_id = 2) const bool TRANS_A = false;        // A lies as [k,m]
layout(constant_id = 3) const bool TRANS_B = false;        // B lies as [n,k]
layout(constant_id = 4) const bool OUT_F32 = false;
layout(constant_id = 5) const bool ALIGNED = true;         // all rows begin at whole quads
layout(constant_id = 6) const bool EDGE = true;            // n is no multiple of 4·QUADS

const uint ROWS = 2;

uint clampTo(uint c, uint last) { return EDGE ? min(c, last) : c; }

vec4 four(TBuf p, uint i) {
    if (ALIGNED) return load4T(p, i);
    return vec4(loadT(p, i), loadT(p, i + 1), loadT(p, i + 2), loadT(p, i + 3));
}

vec4 addProduct(vec4 acc, mat4 rows, vec4 x) {
    return fma(rows[3], vec4(x.w), fma(rows[2], vec4(x.z), fma(rows[1], vec4(x.y), fma(rows[0], vec4(x.x), acc))));
}

// op(B)'s columns from c on, at row k.
vec4 rowOfB(TBuf b, uint k, uint c) {
    uint last = args.n - 1;
    if (!TRANS_B) return four(b, k * args.ldb + clampTo(c, args.n - 4));
    return vec4(loadT(b, clampTo(c, last) * args.ldb + k), loadT(b, clampTo(c + 1, last) * args.ldb + k), loadT(b, clampTo(c + 2, last) * args.ldb + k),
        loadT(b, clampTo(c + 3, last) * args.ldb + k));
}

mat4 rowsOfB(TBuf b, uint k, uint c) {
    if (!TRANS_B) return mat4(rowOfB(b, k, c), rowOfB(b, k + 1, c), rowOfB(b, k + 2, c), rowOfB(b, k + 3, c));
    uint last = args.n - 1;
    return transpose(mat4(four(b, clampTo(c, last) * args.ldb + k), four(b, clampTo(c + 1, last) * args.ldb + k), four(b, clampTo(c + 2, last) * args.ldb + k),
        four(b, clampTo(c + 3, last) * args.ldb + k)));
}

float elementOfA(TBuf a, uint r, uint k) { return loadT(a, TRANS_A ? k * args.lda + r : r * args.lda + k); }

vec4 fourOfA(TBuf a, uint r, uint k) {
    if (!TRANS_A) return four(a, r * args.lda + k);
    return vec4(elementOfA(a, r, k), elementOfA(a, r, k + 1), elementOfA(a, r, k + 2), elementOfA(a, r, k + 3));
}

void main() {
    uint tilesM = (args.m + ROWS * gl_WorkGroupSize.x - 1) / (ROWS * gl_WorkGroupSize.x), tilesN = (args.n + 4 * QUADS - 1) / (4 * QUADS);
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint layer = group / (tilesM * tilesN);
    if (layer >= args.batch) return;
    uint m0 = (group % tilesM * gl_WorkGroupSize.x + gl_SubgroupInvocationID) * ROWS, n0 = group / tilesM % tilesN * 4 * QUADS;
    TBuf a = atT(args.a, uint64_t(layer) * args.strideA), b = atT(args.b, uint64_t(layer) * args.strideB);
    uint row[ROWS];
    [[unroll]] for (uint i = 0; i < ROWS; i++) row[i] = min(m0 + i, args.m - 1);

    vec4 acc[ROWS * QUADS];
    [[unroll]] for (uint i = 0; i < ROWS * QUADS; i++) acc[i] = vec4(0);
    uint whole = args.k / 4 * 4;
    [[dont_unroll]] for (uint k = 0; k < whole; k += 4) {
        vec4 x[ROWS];
        [[unroll]] for (uint i = 0; i < ROWS; i++) x[i] = fourOfA(a, row[i], k);
        [[unroll]] for (uint j = 0; j < QUADS; j++) {
            mat4 rows = rowsOfB(b, k, n0 + 4 * j);
            [[unroll]] for (uint i = 0; i < ROWS; i++) acc[i * QUADS + j] = addProduct(acc[i * QUADS + j], rows, x[i]);
        }
    }
    [[dont_unroll]] for (uint k = whole; k < args.k; k++) {
        [[unroll]] for (uint j = 0; j < QUADS; j++) {
            vec4 y = rowOfB(b, k, n0 + 4 * j);
            [[unroll]] for (uint i = 0; i < ROWS; i++) acc[i * QUADS + j] += elementOfA(a, row[i], k) * y;
        }
    }

    // Both sides of a branch may run: no load goes through a null pointer.
    TBuf bias = isNull(args.bias) ? args.c : args.bias, d = isNull(args.d) ? args.c : args.d;
    float biased = isNull(args.bias) ? 0 : 1;
    float beta = isNull(args.d) ? 0 : args.beta;
    [[unroll]] for (uint j = 0; j < QUADS; j++) {
        uint wanted = n0 + 4 * j, c = TRANS_B ? wanted : clampTo(wanted, args.n - 4);
        [[unroll]] for (uint i = 0; i < ROWS; i++) {
            uint64_t at = (uint64_t(layer) * args.m + m0 + i) * args.ldc;
            [[unroll]] for (uint e = 0; e < 4; e++) {
                if (m0 + i >= args.m || c + e < wanted || c + e >= args.n) continue;
                float y = args.alpha * acc[i * QUADS + j][e];
                if (biased != 0) y += loadT(bias, c + e);
                if (OUT_F32) {
                    if (beta != 0) y += beta * atF(F32Buf(uint64_t(d)), at).v[c + e];
                    atF(F32Buf(uint64_t(args.c)), at).v[c + e] = y;
                } else {
                    if (beta != 0) y += beta * loadT(atT(d, at), c + e);
                    storeT(atT(args.c, at), c + e, y);
                }
            }
        }
    }
}
