#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#extension GL_KHR_shader_subgroup_arithmetic : require
// C = alpha·A·Bᵀ + bias + beta·D for few rows (decoding): A [m,k], m <= ROWS, B [n,k], C and D [m,n], bias [n]. A subgroup makes COLUMNS columns
// of C; its lanes run along k, so that the weights are read once, in order. C is fp32 if OUT_F32.
layout(push_constant, scalar) uniform Args {
    TBuf a;
    TBuf b;
    TBuf bias;      // null or [n]
    TBuf d;         // null or like C, may be C
    TBuf c;
    uint m, n, k;
    uint lda, ldb, ldc;
    float alpha;
    float beta;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ROWS = 4;
layout(constant_id = 2) const uint COLUMNS = 2;
layout(constant_id = 3) const bool ALIGNED = true;
layout(constant_id = 4) const bool OUT_F32 = false;

vec4 quad(TBuf p, uint i, uint left) {
    if (ALIGNED && left >= 4) return load4T(p, i);
    vec4 x = vec4(0);
    for (uint e = 0; e < min(left, 4); e++) x[e] = loadT(p, i + e);
    return x;
}

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint n0 = (group * gl_NumSubgroups + gl_SubgroupID) * COLUMNS;
    if (n0 >= args.n) return;
    float sums[ROWS * COLUMNS];
    [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; i++) sums[i] = 0;
    [[dont_unroll]] for (uint k = gl_SubgroupInvocationID * 4; k < args.k; k += gl_SubgroupSize * 4) {
        uint left = args.k - k;
        vec4 w[COLUMNS];
        [[unroll]] for (uint j = 0; j < COLUMNS; j++) w[j] = quad(atT(args.b, uint64_t(min(n0 + j, args.n - 1)) * args.ldb), k, left);
        [[unroll]] for (uint i = 0; i < ROWS; i++) {
            vec4 x = quad(args.a, min(i, args.m - 1) * args.lda + k, left);
            [[unroll]] for (uint j = 0; j < COLUMNS; j++) sums[i * COLUMNS + j] += dot(x, w[j]);
        }
    }
    [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; i++) sums[i] = subgroupAdd(sums[i]);
    if (!subgroupElect()) return;
    // CPU drivers may run both sides of a branch: no load goes through a null pointer.
    TBuf bias = isNull(args.bias) ? args.c : args.bias, d = isNull(args.d) ? args.c : args.d;
    [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; i++) {
        uint r = i / COLUMNS, c = n0 + i % COLUMNS;
        if (r >= args.m || c >= args.n) continue;
        uint at = r * args.ldc + c;
        float y = args.alpha * sums[i];
        if (!isNull(args.bias)) y += loadT(bias, c);
        if (OUT_F32) {
            if (!isNull(args.d)) y += args.beta * F32Buf(uint64_t(d)).v[at];
            F32Buf(uint64_t(args.c)).v[at] = y;
        } else {
            if (!isNull(args.d)) y += args.beta * loadT(d, at);
            storeT(args.c, at, y);
        }
    }
}
