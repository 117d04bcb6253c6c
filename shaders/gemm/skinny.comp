#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "elementwise/functions.glsl"
#extension GL_KHR_shader_subgroup_arithmetic : require
// C = f(alpha·X·Bᵀ + bias, X·B2ᵀ) + beta·D for few rows (decoding): X [m,k], m <= ROWS, B and B2 [n,k], C and D [m,n], bias [n]. X is A or, with NORM, every
// run of `width` channels of A over its root mean square, times the norm's weight and act(gate): rounded to T, as the norm's own kernel leaves it.
// A subgroup makes COLUMNS columns of C; its lanes run along k in pieces of 16 bytes, STEP of a row in flight at once, and the weights are read once. What
// the first pieces wait for is used to stage X in shared memory. C is fp32 if OUT_F32.
layout(push_constant, scalar) uniform Args {
    TBuf a;
    TBuf weight;    // of the norm [width]
    TBuf gate;      // like A
    TBuf b;
    TBuf b2;
    TBuf bias;
    TBuf d;         // like C, may be C
    TBuf c;
    uint m, n, k;
    uint width;
    float eps;
    float alpha;
    float beta;
    float parameter;    // of f
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint LANES = 32;             // of a subgroup
layout(constant_id = 2) const uint ROWS = 4;
layout(constant_id = 3) const uint COLUMNS = 2;
layout(constant_id = 4) const uint STEP = 4;
layout(constant_id = 5) const uint TILE = 128;             // pieces of a row of X that are staged: whole steps, all of them with NORM
layout(constant_id = 6) const bool ALIGNED = true;         // all rows begin at, and consist of, whole pieces
layout(constant_id = 7) const bool OUT_F32 = false;
layout(constant_id = 8) const uint PARTS = 0;
layout(constant_id = 9) const uint OP = AFFINE;            // f; AFFINE for none
layout(constant_id = 10) const uint WORKGROUP = 256;

const uint NORM = 1, WEIGHT = 2, GATE = 4, PAIR = 8, BIAS = 16, OTHER = 32, SIGMOID_GATE = 64;

const uint PIECE = 16 / T_SIZE;
const bool IS_PAIR = (PARTS & PAIR) != 0;
const uint SUMS = IS_PAIR ? 2 * COLUMNS : COLUMNS;         // products that a subgroup makes of each row
const uint TRIPS = (ROWS * TILE + WORKGROUP - 1) / WORKGROUP;

shared uvec4 staged[ROWS * TILE];
shared float squares[ROWS * TILE / LANES];

bool has(uint part) { return (PARTS & part) != 0; }

// The piece from element i on of a row of k elements; anything past its end.
uvec4 fetch(TBuf row, uint i) {
    if (ALIGNED) return U32x4Buf(uint64_t(row) + uint64_t(min(i, args.k - PIECE)) * T_SIZE).v;
    uvec4 x = uvec4(0);
    [[unroll]] for (uint e = 0; e < PIECE; e++) {
        if (i + e >= args.k) continue;
#if T_SIZE == 2
        x[e / 2] |= uint(row.v[i + e]) << (e % 2 * 16);
#else
        x[e] = floatBitsToUint(row.v[i + e]);
#endif
    }
    return x;
}

struct Floats {
    vec4 v[PIECE / 4];
};

Floats floats(uvec4 x) {
    Floats f;
#if T_SIZE == 2
    f.v[0] = unpack4(x.xy);
    f.v[1] = unpack4(x.zw);
#else
    f.v[0] = uintBitsToFloat(x);
#endif
    return f;
}

uvec4 bits(Floats f) {
#if T_SIZE == 2
    return uvec4(pack4(f.v[0]), pack4(f.v[1]));
#else
    return floatBitsToUint(f.v[0]);
#endif
}

float dots(Floats a, Floats b) {
    float sum = dot(a.v[0], b.v[0]);
    [[unroll]] for (uint e = 1; e < PIECE / 4; e++) sum += dot(a.v[e], b.v[e]);
    return sum;
}

// Puts pieces first to first + TILE of every row of X into shared memory, zeros past the rows' end.
void stage(uint first) {
    uvec4 x[TRIPS], w[TRIPS], g[TRIPS];
    [[unroll]] for (uint t = 0; t < TRIPS; t++) {
        uint i = min(gl_LocalInvocationIndex + t * WORKGROUP, ROWS * TILE - 1), at = (first + i % TILE) * PIECE;
        uint64_t row = uint64_t(min(i / TILE, args.m - 1)) * args.k;
        x[t] = fetch(atT(args.a, row), at);
        if (has(WEIGHT)) w[t] = fetch(args.weight, min(at, args.k - PIECE) % args.width);
        if (has(GATE)) g[t] = fetch(atT(args.gate, row), at);
    }
    if (has(NORM)) {
        [[unroll]] for (uint t = 0; t < TRIPS; t++) {
            uint i = gl_LocalInvocationIndex + t * WORKGROUP;
            Floats f = floats(x[t]);
            float sum = subgroupAdd(i % TILE * PIECE < args.k ? dots(f, f) : 0.0);
            if (gl_SubgroupInvocationID == 0 && i < ROWS * TILE) squares[i / LANES] = sum;
        }
        barrier();
    }
    [[unroll]] for (uint t = 0; t < TRIPS; t++) {
        uint i = gl_LocalInvocationIndex + t * WORKGROUP, at = (first + i % TILE) * PIECE;
        if (i >= ROWS * TILE) continue;
        if (has(NORM)) {
            uint parts = args.width / (PIECE * LANES), start = i / TILE * (TILE / LANES) + at / args.width * parts;
            float total = 0;
            for (uint j = 0; j < parts; j++) total += squares[min(start + j, ROWS * TILE / LANES - 1)];
            float rstd = 1.0 / sqrt(total / float(args.width) + args.eps);
            Floats f = floats(x[t]), s = floats(w[t]), z = floats(g[t]);
            [[unroll]] for (uint e = 0; e < PIECE / 4; e++) {
                f.v[e] *= rstd;
                if (has(WEIGHT)) f.v[e] *= s.v[e];
                if (has(GATE)) f.v[e] *= (has(SIGMOID_GATE) ? vec4(1) : z.v[e]) / (1.0 + exp(-z.v[e]));
            }
            x[t] = bits(f);
        }
        staged[i] = at < args.k ? x[t] : uvec4(0);
    }
    barrier();
}

float loadC(TBuf p, uint i) { return OUT_F32 ? F32Buf(uint64_t(p)).v[i] : loadT(p, i); }

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint n0 = (group * (WORKGROUP / LANES) + gl_SubgroupID) * COLUMNS, lane = gl_SubgroupInvocationID;
    float sums[ROWS * SUMS], bias[COLUMNS], before[ROWS * COLUMNS];
    [[unroll]] for (uint i = 0; i < ROWS * SUMS; i++) sums[i] = 0;
    [[unroll]] for (uint j = 0; j < COLUMNS; j++) bias[j] = has(BIAS) ? loadT(args.bias, min(n0 + j, args.n - 1)) : 0.0;
    [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; i++) {
        before[i] = has(OTHER) ? loadC(args.d, min(i / COLUMNS, args.m - 1) * args.n + min(n0 + i % COLUMNS, args.n - 1)) : 0.0;
    }
    TBuf rows[SUMS];
    [[unroll]] for (uint j = 0; j < SUMS; j++) {
        rows[j] = atT(IS_PAIR && j % 2 == 1 ? args.b2 : args.b, uint64_t(min(n0 + (IS_PAIR ? j / 2 : j), args.n - 1)) * args.k);
    }

    uint pieces = (args.k + PIECE - 1) / PIECE;
    [[dont_unroll]] for (uint first = 0; first < pieces; first += LANES * STEP) {
        uvec4 w[SUMS * STEP];
        [[unroll]] for (uint s = 0; s < STEP; s++) {
            [[unroll]] for (uint j = 0; j < SUMS; j++) w[s * SUMS + j] = fetch(rows[j], (first + s * LANES + lane) * PIECE);
        }
        uint place = first % TILE;
        if (place == 0) {
            if (first > 0) barrier();
            stage(first);
        }
        [[unroll]] for (uint s = 0; s < STEP; s++) {
            Floats x[ROWS];
            [[unroll]] for (uint i = 0; i < ROWS; i++) x[i] = floats(staged[i * TILE + place + s * LANES + lane]);
            [[unroll]] for (uint j = 0; j < SUMS; j++) {
                Floats y = floats(w[s * SUMS + j]);
                [[unroll]] for (uint i = 0; i < ROWS; i++) sums[i * SUMS + j] += dots(x[i], y);
            }
        }
    }
    [[unroll]] for (uint i = 0; i < ROWS * SUMS; i++) sums[i] = subgroupAdd(sums[i]);
    if (lane != 0) return;
    [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; i++) {
        uint r = i / COLUMNS, j = i % COLUMNS;
        if (r >= args.m || n0 + j >= args.n) continue;
        float y = args.alpha * sums[r * SUMS + (IS_PAIR ? 2 * j : j)] + bias[j];
        if (OP != AFFINE) y = apply(OP, y, IS_PAIR ? sums[r * SUMS + 2 * j + 1] : 0.0, args.parameter, 0.0);
        y += args.beta * before[i];
        if (OUT_F32) F32Buf(uint64_t(args.c)).v[r * args.n + n0 + j] = y;
        else storeT(args.c, r * args.n + n0 + j, y);
    }
}
