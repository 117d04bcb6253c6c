// AINTRA: products of tokens within a chunk under a gate of channels, of rows i that read the state (q, and a) and rows j that write to it (k, and b):
//   A_ij,rs = sum over channels of i_r j_s e^{G_r - G_s} for s <= r        times `scale` for q
// and the writers with the decay to the chunk's end: e^{G_C - G} j.
// e^{-G_s} alone would overflow, so pairs are taken level by level: for W = C/2, C/4 .. 1, rows r in the upper and s in the lower half of a block
// of 2W tokens. With rho = G of the token before the upper half both G_r - rho and rho - G_s are at most 0, and as a token is
// either a row or a column of its level, one tile X (i_r e^{G_r - rho} or j_s e^{rho - G_s}) gives the level as X X^T. The diagonal is i . j.
// That is for strong decays; weak ones (weak.glsl) make it one product.
// EXCLUSIVE: a_r is gated by G_{r-1} instead, and its products are meant for s < r. SAME: a is k.
// q, a, k, b and the gated writers [tokens, H, K]; gate: G, cumulative log decay in the chunk, fp32 [tokens, H, K]; A fp32 [tokens, H, C], unspecified above
// the diagonal.
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
    TBuf q; TBuf a; TBuf k; TBuf b; F32Buf gate; F32Buf qk; F32Buf qb; F32Buf ak; F32Buf ab; TBuf gatedK; TBuf gatedB; I32Buf packed;
    uint N; uint T; uint C; uint H; uint K; float scale;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // chunk_tiles.glsl, of plain arithmetic
layout(constant_id = 10) const uint READERS = 1;
layout(constant_id = 11) const uint WRITERS = 1;
layout(constant_id = 12) const bool EXCLUSIVE = false;
layout(constant_id = 13) const bool SAME = false;
layout(constant_id = 14) const bool GATES_WRITERS = false;
layout(constant_id = 15) const bool FULL = false;          // widths are multiples of 64
layout(constant_id = 16) const bool DENSE = false;         // all chunks have 64 tokens
layout(constant_id = 17) const uint SLICES = 1;            // ceil(K / 64)

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
#define TILE_SOLID FULL
#ifdef MM_coopmat
#define WIDTH 64
#else
#define WIDTH SLICE
#endif
#define TILE_QUADS (2 * tileQuads(64, WIDTH))
#define TILE_BARE
#define TILE_VECTOR 256
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "linear/levels.glsl"
#include "linear/weak.glsl"

uint K = args.K, H = args.H, C = DENSE ? 64 : args.C, count, middle;
F32Buf gates;

uint tokenBefore(uint r) { return max(r, 1) - 1; }
F32Buf scoresOf(uint64_t token, uint i, uint j) { return atF(i == 0 ? (j == 0 ? args.qk : args.qb) : (j == 0 ? args.ak : args.ab), token * C); }

void storeLevel(F32Buf A, uint r, uint c, vec4 x, uint width) {
    [[unroll]] for (uint e = 0; e < 4; e++) if (r < count && isLevelPair(r, c + e, width)) A.v[r * H * C + c + e] = x[e];
}

Tile x = Tile(0, tileStride(WIDTH), false), y = Tile(tileQuads(64, WIDTH), tileStride(WIDTH), false);

#ifdef MM_coopmat
const uint RUNS = TILE_RUNS(64, 64);
// One slice of rows and gates.
#define FETCH(k0) { \
    TILE_EACH_RUN(64, 64, j, r, c, \
        nextGates[2 * j] = nextQuadF(gates, r, (k0) + c, K, H * K, count); \
        nextGates[2 * j + 1] = nextQuadF(gates, r, (k0) + c + 4, K, H * K, count);) \
    [[unroll]] for (uint e = 0; e < 2; e++) { \
        middleGates[e] = nextQuadF(gates, middle, (k0) + lane % 8 * 8 + 4 * e, K, H * K, count); \
        if (GATES_WRITERS) lastGates[e] = nextQuadF(gates, count - 1, (k0) + lane % 8 * 8 + 4 * e, K, H * K, count); \
    } \
    TILE_FETCH(nextK, 0, 64, 64, rowsK, 0, k0, K, H * K, count) \
    TILE_FETCH(nextQ, 0, 64, 64, rowsQ, 0, k0, K, H * K, count) }
#define FETCH_SECOND(k0) { \
    if (READERS > 1 && !SAME) TILE_FETCH(nextA, 0, 64, 64, rowsA, 0, k0, K, H * K, count) \
    if (READERS > 1 && EXCLUSIVE) TILE_EACH_RUN(64, 64, j, r, c, \
        nextReads[2 * j] = nextQuadF(gates, tokenBefore(r), (k0) + c, K, H * K, count); \
        nextReads[2 * j + 1] = nextQuadF(gates, tokenBefore(r), (k0) + c + 4, K, H * K, count);) \
    if (WRITERS > 1) TILE_FETCH(nextB, 0, 64, 64, rowsB, 0, k0, K, H * K, count) }
uvec4 timesOct(uvec4 oct, vec4 low, vec4 high) { return uvec4(tilePack(unpack4(oct.xy) * low), tilePack(unpack4(oct.zw) * high)); }
// Rows past the last token are as the last, in products that nobody reads.
#define EXP_GATES(e) exp(nextGates[2 * tileJ + e] - middleGates[e])
#define EXP_READS(e) exp((EXCLUSIVE ? nextReads[2 * tileJ + e] : nextGates[2 * tileJ + e]) - middleGates[e])
#define EXP_WRITES(e) exp(middleGates[e] - nextGates[2 * tileJ + e])
#define LAND(tile, oct, EXP) TILE_LAND_RUNS(tile, 64, 64, r, c, timesOct(landedOct(oct, r, k0 + c, K, 64), EXP(0), EXP(1)))
#define SAVE_GATED(p, oct) TILE_EACH_RUN(64, 64, tileJ, r, c, \
    uvec4 gated = timesOct(oct, exp(lastGates[0] - nextGates[2 * tileJ]), exp(lastGates[1] - nextGates[2 * tileJ + 1])); \
    storeOct(p, r * H * K + k0 + c, FULL && DENSE ? 8 : r < count ? int(K) - int(k0 + c) : 0, gated.xy, gated.zw);)
#define SAVE(acc, i, j, factor) { \
    F32Buf A = scoresOf(token, i, j); \
    accSpread(acc, 0) \
    barrier(); \
    TILE_EACH_RUN(64, 64, tileO, r, c, \
        if (DENSE || r < count && c < C) { \
            store4F(A, r * H * C + c, factor * tileFloats(0, r, c)); \
            store4F(A, r * H * C + c + 4, factor * tileFloats(0, r, c + 4)); \
        }) \
    barrier(); }
#define SAVE_LEVEL(acc) { \
    accSpread(acc, 0) \
    barrier(); \
    TILE_EACH_RUN(64, 64, tileO, r, c, \
        storeLevel(A, r, c, factor * tileFloats(0, r, c), width); \
        storeLevel(A, r, c + 4, factor * tileFloats(0, r, c + 4), width);) }
#else
vec4 gateQuad(uint r, uint c) { return rowQuadF(gates, min(r, count - 1), c, K, H * K, count); }
vec4 fromMiddle(uint r, uint c) { return gateQuad(r, c) - gateQuad(middle, c); }
#define LAND(tile, p, exponent) TILE_STAGE(tile, 64, WIDTH, r, c, (widen(rowQuad(p, r, k0 + c, K, H * K, count)) * exp(exponent)))
#define SAVE_GATED(p, rows) TILE_DEAL(i, 64 * (WIDTH / 4)) { \
    uint r = i / (WIDTH / 4), c = k0 + i % (WIDTH / 4) * 4; \
    vec4 gated = widen(rowQuad(rows, r, c, K, H * K, count)) * exp(gateQuad(count - 1, c) - gateQuad(r, c)); \
    storeTail4T(p, r * H * K + c, r < count ? int(K) - int(c) : 0, gated); }
#define SAVE(acc, i, j, factor) { \
    F32Buf A = scoresOf(token, i, j); \
    ACC_EACH(acc, r, c, v, if (r < count && c < C) store4F(A, r * H * C + c, factor * v);) }
#define SAVE_LEVEL(acc) ACC_EACH(acc, r, c, v, storeLevel(A, r, c, factor * v, width);)
#endif

void main() {
    uint head = gl_WorkGroupID.y, lane = gl_LocalInvocationIndex, first = gl_WorkGroupID.x * 64;
    count = 64;
    if (!DENSE) {
        Chunk chunk = chunkAt(args.packed, args.N, gl_WorkGroupID.x, args.T, C);
        if (chunk.sequence < 0) return;
        first = chunk.tokens.first;
        count = chunk.tokens.count;
    }
    middle = middleToken(count);
    uint64_t token = uint64_t(first) * H + head;
    TBuf rowsQ = atT(args.q, token * K), rowsA = atT(READERS > 1 ? args.a : args.q, token * K);
    TBuf rowsK = atT(args.k, token * K), rowsB = atT(WRITERS > 1 ? args.b : args.k, token * K);
    TBuf gatedK = atT(args.gatedK, token * K), gatedB = atT(args.gatedB, token * K);
    gates = atF(args.gate, token * K);

    Acc qk, qb, ak, ab;
    accZero(qk);
    accZero(qb);
    accZero(ak);
    accZero(ab);
#ifdef MM_coopmat
    uvec4 nextQ[RUNS]; uvec4 nextK[RUNS]; uvec4 nextA[RUNS]; uvec4 nextB[RUNS];
    vec4 nextGates[2 * RUNS]; vec4 nextReads[2 * RUNS]; vec4 middleGates[2]; vec4 lastGates[2];
    FETCH(0)
#endif
    bool weak = isWeakChunk(gates, K, H * K, count);
#ifdef MM_coopmat
    STRAIGHT for (uint s = 0; s < sliceTrip(SLICES); s++) {
        uint k0 = s * 64;
        FETCH_SECOND(k0)
        if (weak) {
            LAND(y, nextK[tileJ], EXP_WRITES)
            LAND(x, nextQ[tileJ], EXP_GATES)
        }
        if (GATES_WRITERS) SAVE_GATED(gatedK, nextK[tileJ])
        barrier();
        if (weak) mma(qk, x, T(y), 64)
        barrier();
        if (READERS > 1) {
            if (weak) LAND(x, (SAME ? nextK[tileJ] : nextA[tileJ]), EXP_READS)
            barrier();
            if (weak) mma(ak, x, T(y), 64)
            barrier();
        }
        if (WRITERS > 1) {
            if (weak) LAND(y, nextB[tileJ], EXP_WRITES)
            if (GATES_WRITERS) SAVE_GATED(gatedB, nextB[tileJ])
            barrier();
            if (weak) mma(ab, x, T(y), 64)
            barrier();
            if (weak) LAND(x, nextQ[tileJ], EXP_GATES)
            barrier();
            if (weak) mma(qb, x, T(y), 64)
            barrier();
        }
        if (s + 1 < SLICES) FETCH(k0 + 64)
    }
#else
    [[dont_unroll]] for (uint k0 = 0; k0 < K; k0 += WIDTH) {
        if (GATES_WRITERS) SAVE_GATED(gatedK, rowsK)
        if (GATES_WRITERS && WRITERS > 1) SAVE_GATED(gatedB, rowsB)
        if (!weak) continue;
        LAND(y, rowsK, -fromMiddle(r, k0 + c))
        LAND(x, rowsQ, fromMiddle(r, k0 + c))
        barrier();
        mma(qk, x, T(y), WIDTH);
        barrier();
        if (READERS > 1) {
            LAND(x, rowsA, fromMiddle(EXCLUSIVE ? tokenBefore(r) : r, k0 + c))
            barrier();
            mma(ak, x, T(y), WIDTH);
            barrier();
        }
        if (WRITERS > 1) {
            LAND(y, rowsB, -fromMiddle(r, k0 + c))
            barrier();
            mma(ab, x, T(y), WIDTH);
            barrier();
            LAND(x, rowsQ, fromMiddle(r, k0 + c))
            barrier();
            mma(qb, x, T(y), WIDTH);
            barrier();
        }
    }
#endif
    if (weak) {
        SAVE(qk, 0, 0, args.scale)
        if (WRITERS > 1) SAVE(qb, 0, 1, args.scale)
        if (READERS > 1) SAVE(ak, 1, 0, 1)
        if (READERS > 1 && WRITERS > 1) SAVE(ab, 1, 1, 1)
        return;
    }

    [[dont_unroll]] for (uint pair = 0; pair < READERS * WRITERS; pair++) {
        uint i = pair / WRITERS, j = pair % WRITERS;
        F32Buf A = scoresOf(token, i, j);
        TBuf rowsI = i == 0 ? rowsQ : rowsA, rowsJ = j == 0 ? rowsK : rowsB;
        float factor = i == 0 ? args.scale : 1.0;
        bool exclusive = EXCLUSIVE && i == 1;
        [[dont_unroll]] for (uint width = C / 2; width > 0; width /= 2) {
            Acc z;
            accZero(z);
            [[dont_unroll]] for (uint k0 = 0; k0 < K; k0 += WIDTH) {
                TILE_STAGE(x, 64, WIDTH, r, c, levelElements(rowsI, rowsJ, gates, r, k0 + c, width, K, H * K, count, exclusive))
                barrier();
                mma(z, x, T(x), WIDTH);
                barrier();
            }
            SAVE_LEVEL(z)
            barrier();
        }
        uint parts = min(gl_WorkGroupSize.x / 64, 4);      // the diagonal: so many invocations a row
        uint row = lane / parts, part = lane % parts;
        float sum = 0;
        for (uint k = part; row < count && k < K; k += parts) sum += loadT(rowsI, row * H * K + k) * loadT(rowsJ, row * H * K + k);
        if (row < 64) tileVector[lane] = sum;
        barrier();
        if (lane < count) {
            float dot = 0;
            for (uint p = 0; p < parts; p++) dot += tileVector[parts * lane + p];
            A.v[lane * (H * C + 1)] = factor * dot;
        }
        barrier();
    }
}
