// AINTRA: products of tokens within a chunk, A_rs = scale sum over d of a_rd b_sd e^{G_rd - G_sd} for s <= r.
// e^{-G_s} alone would overflow, so pairs are taken level by level: for W = C/2, C/4 .. 1, rows r in the upper and s in the lower half of a block
// of 2W tokens. With rho = G of the token before the upper half both G_r - rho and rho - G_s are at most 0, and as a token is
// either a row or a column of its level, one tile X (a_r e^{G_r - rho} or b_s e^{rho - G_s}) gives the level as X X^T. The diagonal is a . b.
// That is for strong decays; weak ones (weak.glsl) make it one product, as does the lack of a gate: A = scale a b^T.
// EXCLUSIVE: a_r is gated by G_{r-1} instead, and A is meant for s < r.
// a, b [tokens, H, K]; gate: G, cumulative log decay in the chunk, fp32 [tokens, H, K]; A fp32 [tokens, H, C], zero for s > r in the latter two.
// One workgroup a chunk (x) and head (y).
// @variants T=f32|f16|bf16 MM=plain|coopmat
// @exclude T=f32 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/sequences.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf a; TBuf b; F32Buf gate; F32Buf A; I32Buf packed;
    uint N; uint T; uint C; uint H; uint K; float scale;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // chunk_tiles.glsl
layout(constant_id = 10) const bool GATED = true;
layout(constant_id = 11) const bool EXCLUSIVE = false;
layout(constant_id = 12) const uint SLICES = 1;            // ceil(K / SLICE)
layout(constant_id = 13) const bool FULL = false;          // widths are multiples of 64

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
#define TILE_SOLID FULL
#ifdef MM_coopmat
#define TILE_SCRATCH 0
#define TILE_QUADS (2 * tileQuads(64, SLICE) > 2 * TILE_SCRATCH_OCTS ? 2 * tileQuads(64, SLICE) : 2 * TILE_SCRATCH_OCTS)
#else
#define TILE_QUADS (2 * tileQuads(64, SLICE))
#endif
#define TILE_VECTOR 256
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "linear/levels.glsl"
#include "linear/weak.glsl"

uint K = args.K, H = args.H;

void storeLevel(F32Buf A, uint r, uint c, vec4 x, uint width, uint count) {
    [[unroll]] for (uint e = 0; e < 4; e++) {
        if (r < count && isLevelPair(r, c + e, width)) A.v[r * H * args.C + c + e] = args.scale * x[e];
    }
}

void storeTriangle(F32Buf A, uint r, uint c, vec4 x, uint count) {
    if (r < count && c < args.C) store4F(A, r * H * args.C + c, mix(vec4(0), args.scale * x, lessThanEqual(uvec4(c) + uvec4(0, 1, 2, 3), uvec4(r))));
}

#ifdef MM_coopmat
// One slice of the operands and gates.
const uint RUNS = TILE_RUNS(64, SLICE), SETS = SLICES > 1 ? setsOf(SLICES) : 1u;
#define FETCH(s) { \
    uint k0 = (s) * SLICE, set = (s) % SETS * RUNS; \
    TILE_FETCH(nextA, set, 64, SLICE, rowsA, 0, k0, K, H * K, count) \
    TILE_FETCH(nextB, set, 64, SLICE, rowsB, 0, k0, K, H * K, count) \
    if (GATED) { \
        TILE_EACH_RUN(64, SLICE, j, r, c, \
            nextGates[2 * (set + j)] = nextQuadF(gates, r, k0 + c, K, H * K, count); \
            nextGates[2 * (set + j) + 1] = nextQuadF(gates, r, k0 + c + 4, K, H * K, count);) \
        if (EXCLUSIVE) TILE_EACH_RUN(64, SLICE, j, r, c, \
            nextReads[2 * (set + j)] = nextQuadF(gates, max(r, 1) - 1, k0 + c, K, H * K, count); \
            nextReads[2 * (set + j) + 1] = nextQuadF(gates, max(r, 1) - 1, k0 + c + 4, K, H * K, count);) \
        middleGates[(s) % SETS * 2] = nextQuadF(gates, middleToken(count), k0 + lane % (SLICE / 8) * 8, K, H * K, count); \
        middleGates[(s) % SETS * 2 + 1] = nextQuadF(gates, middleToken(count), k0 + lane % (SLICE / 8) * 8 + 4, K, H * K, count); \
    } }
#define LAND(s) { \
    uint k0 = (s) * SLICE, set = (s) % SETS * RUNS; \
    if (GATED) { \
        vec4 middleLow = middleGates[(s) % SETS * 2], middleHigh = middleGates[(s) % SETS * 2 + 1]; \
        TILE_EACH_RUN(64, SLICE, j, r, c, \
            nextGates[2 * (set + j)] = exp(nextGates[2 * (set + j)] - middleLow); \
            nextGates[2 * (set + j) + 1] = exp(nextGates[2 * (set + j) + 1] - middleHigh);) \
        TILE_LAND_RUNS(x, 64, SLICE, r, c, gatedOct(landedOct(nextA[set + tileJ], r, k0 + c, K, count), \
            EXCLUSIVE ? exp(nextReads[2 * (set + tileJ)] - middleLow) : nextGates[2 * (set + tileJ)], \
            EXCLUSIVE ? exp(nextReads[2 * (set + tileJ) + 1] - middleHigh) : nextGates[2 * (set + tileJ) + 1])) \
        TILE_LAND_RUNS(y, 64, SLICE, r, c, gatedOct(landedOct(nextB[set + tileJ], r, k0 + c, K, count), \
            1 / nextGates[2 * (set + tileJ)], 1 / nextGates[2 * (set + tileJ) + 1])) \
    } else { \
        TILE_LAND(x, 64, SLICE, nextA, set, 0, k0, K, count) \
        TILE_LAND(y, 64, SLICE, nextB, set, 0, k0, K, count) \
    } }
uvec4 gatedOct(uvec4 oct, vec4 low, vec4 high) { return uvec4(tilePack(unpack4(oct.xy) * low), tilePack(unpack4(oct.zw) * high)); }
#else
// G - rho, rows past the last token as the last.
vec4 fromMiddle(F32Buf gates, uint r, uint c, uint count) {
    return rowQuadF(gates, min(r, count - 1), c, K, H * K, count) - rowQuadF(gates, middleToken(count), c, K, H * K, count);
}

#define FETCH(s) {}
#define LAND(s) { \
    uint k0 = (s) * SLICE; \
    if (GATED) { \
        TILE_STAGE(x, 64, SLICE, r, c, (widen(rowQuad(rowsA, r, k0 + c, K, H * K, count)) * exp(fromMiddle(gates, EXCLUSIVE ? max(r, 1) - 1 : r, k0 + c, count)))) \
        TILE_STAGE(y, 64, SLICE, r, c, (widen(rowQuad(rowsB, r, k0 + c, K, H * K, count)) * exp(-fromMiddle(gates, r, k0 + c, count)))) \
    } else { \
        TILE_ROWS(x, 64, SLICE, rowsA, 0, k0, K, H * K, count) \
        TILE_ROWS(y, 64, SLICE, rowsB, 0, k0, K, H * K, count) \
    } }
#endif

void main() {
    Chunk chunk = chunkAt(args.packed, args.N, gl_WorkGroupID.x, args.T, args.C);
    if (chunk.sequence < 0) return;
    uint head = gl_WorkGroupID.y, count = chunk.tokens.count, lane = gl_LocalInvocationIndex;
    uint64_t token = uint64_t(chunk.tokens.first) * H + head;
    TBuf rowsA = atT(args.a, token * K), rowsB = atT(args.b, token * K);
    F32Buf gates = GATED ? atF(args.gate, token * K) : args.gate, A = atF(args.A, token * args.C);
    Tile x = Tile(0, tileStride(SLICE), false), y = Tile(tileQuads(64, SLICE), tileStride(SLICE), false);

    Acc scores;
    accZero(scores);
#ifdef MM_coopmat
    TILE_AHEAD(nextA, SETS, 64, SLICE)
    TILE_AHEAD(nextB, SETS, 64, SLICE)
    vec4 nextGates[2 * SETS * RUNS]; vec4 nextReads[2 * SETS * RUNS]; vec4 middleGates[2 * SETS];
#endif
    FETCH(0)
#ifdef MM_coopmat
    [[unroll]] for (uint s = 1; s < SETS; s++) FETCH(s)
#endif
    if (!GATED || isWeakChunk(gates, K, H * K, count)) {
        STRAIGHT for (uint s = 0; s < sliceTrip(SLICES); s++) {
            LAND(s)
            barrier();
#ifdef MM_coopmat
            if (s + SETS < SLICES) FETCH(s + SETS)
#endif
            mma(scores, x, T(y), SLICE);
            barrier();
        }
        ACC_EACH(scores, r, c, x, storeTriangle(A, r, c, x, count);)
        return;
    }

    [[dont_unroll]] for (uint width = args.C / 2; width > 0; width /= 2) {
        accZero(scores);
        [[dont_unroll]] for (uint k0 = 0; k0 < K; k0 += SLICE) {
            TILE_STAGE(x, 64, SLICE, r, c, levelElements(rowsA, rowsB, gates, r, k0 + c, width, K, H * K, count, EXCLUSIVE))
            barrier();
            mma(scores, x, T(x), SLICE);
            barrier();
        }
        ACC_EACH(scores, r, c, x, storeLevel(A, r, c, x, width, count);)
        barrier();
    }

    uint parts = min(gl_WorkGroupSize.x / 64, 4);          // the diagonal: so many invocations a row
    uint row = lane / parts, part = lane % parts;
    float sum = 0;
    for (uint k = part; row < count && k < K; k += parts) sum += loadT(rowsA, row * H * K + k) * loadT(rowsB, row * H * K + k);
    if (row < 64) tileVector[lane] = sum;
    barrier();
    if (lane >= count) return;
    float dot = 0;
    for (uint i = 0; i < parts; i++) dot += tileVector[parts * lane + i];
    A.v[lane * (H * args.C + 1)] = args.scale * dot;
}
