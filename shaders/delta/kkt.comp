// KKT and TRI: what the tokens of a chunk correct of each other, all at once, under a gate of heads or none.
//   A_rs = beta_r e^{Ga_r - G_s} a_r . k_s for s < r, M = (I + A)^-1
// G is the cumulative log decay in the chunk; Ga_r = G_r, or with EXCLUSIVE G_{r-1}.
// NORMS (a is k): k and q are raw, A is of k / |k|, and lengthsK and lengthsQ become 1 / |k| and 1 / |q|; UNIT_ROWS: k / |k| and q / |q| are written too.
// a, k, q, unitK, unitQ [tokens, H, K]; beta fp32 [tokens, H] or null (1); gate fp32 [tokens, H]; lengthsK, lengthsQ fp32 [tokens, H], or null with UNIT_ROWS; M [tokens, H, C].
// One workgroup a chunk (x) and head (y).
// @variants T=f32|f16|bf16 MM=plain|coopmat
// @exclude T=f32 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "common/dtype.glsl"
#include "linear/sequences.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf a; TBuf k; F32Buf beta; F32Buf gate; TBuf M; TBuf q; TBuf unitK; TBuf unitQ; F32Buf lengthsK; F32Buf lengthsQ; I32Buf packed;
    uint N; uint T; uint C; uint H; uint K; float eps;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // chunk_tiles.glsl
layout(constant_id = 10) const uint GATE = 0;
layout(constant_id = 11) const bool EXCLUSIVE = false;
layout(constant_id = 12) const bool SAME = false;          // a is k
layout(constant_id = 13) const bool FULL = false;          // the width is a multiple of 64, with SAME of 128
layout(constant_id = 14) const bool WHOLE = false;         // every chunk has 64 tokens
layout(constant_id = 15) const uint TILES = 1;             // ceil(K / 64)
layout(constant_id = 16) const uint LENGTHS = 0;

const uint LENGTHS_ONLY = 1, UNIT_ROWS = 2;
const bool NORMS = LENGTHS != 0;

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
#define TILE_SOLID (FULL && WHOLE)
#ifdef MM_coopmat
// Two tiles: little enough shared memory for several workgroups at once.
#define WIDTH 64
#define TILE_QUADS (2 * tileQuads(64, 64))
#define TILE_BARE
#else
// Either WIDTH columns of a and k, or A in fp32.
#define WIDTH SLICE
#define QUADS_KEYS (2 * tileQuads(64, WIDTH))
#define TILE_QUADS (QUADS_KEYS > tileQuads(64, 64) ? QUADS_KEYS : tileQuads(64, 64))
#endif
#define TILE_VECTOR 256
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "delta/gates.glsl"
#include "delta/inverse.glsl"
#include "delta/tiles.glsl"
#include "delta/save.glsl"

uint K = args.K, H = args.H, C = WHOLE ? 64 : args.C, head = gl_WorkGroupID.y;

// Rows of a tile that there are.
#define LIMIT (WHOLE ? EVERY_ROW : count)

// Four of row r's elements of A, from sum's products.
vec4 correction(uint r, uint c, vec4 products, uint count) {
    vec4 x = vec4(0);
    [[unroll]] for (uint e = 0; e < 4; e++) {
        float factor = LENGTHS == LENGTHS_ONLY ? tileVector[192 + r] * tileVector[192 + c + e] * tileVector[r] : tileVector[r];
        if (c + e < r && r < count) x[e] = products[e] * factor * (GATE == HEADS ? exp(tileVector[128 + r] - tileVector[64 + c + e]) : 1.0);
    }
    return x;
}

#ifdef MM_coopmat
const uint RUNS = TILE_RUNS(64, 64);
// Two tiles: of a and k, or where they are the same two of it.
#define KEYS_STEP (SAME ? 128 : 64)
#define FETCH_KEYS(k0) { \
    TILE_FETCH(nextX, 0, 64, 64, rowsA, 0, k0, K, H * K, LIMIT) \
    if (SAME) TILE_FETCH(nextY, 0, 64, 64, rowsA, 0, (k0) + 64, K, H * K, LIMIT) \
    else TILE_FETCH(nextY, 0, 64, 64, rowsK, 0, k0, K, H * K, LIMIT) }
#define NEXT_KEYS(k0) if (TILES > KEYS_STEP / 64) FETCH_KEYS((k0 < K ? k0 : 0))
#define LAND_KEYS(k0) { \
    if (LENGTHS == UNIT_ROWS) SCALE_PAIR(k0, args.unitK) \
    TILE_LAND(x, 64, 64, nextX, 0, 0, k0, K, LIMIT) \
    TILE_LAND(y, 64, 64, nextY, 0, 0, (SAME ? k0 + 64 : k0), K, LIMIT) }
#define TIMES_KEYS(acc) \
    if (SAME) { \
        mma(acc, x, T(x), 64) \
        mma(acc, y, T(y), 64) \
    } else mma(acc, x, T(y), 64)

// Lengths of rows: eight invocations have 64 columns of a row.
#define FETCH_PAIR(p, k0) { \
    TILE_FETCH(nextX, 0, 64, 64, p, 0, k0, K, H * K, LIMIT) \
    TILE_FETCH(nextY, 0, 64, 64, p, 0, (k0) + 64, K, H * K, LIMIT) }
float squaresOf(uvec4 oct) { return dot(unpack4(oct.xy), unpack4(oct.xy)) + dot(unpack4(oct.zw), unpack4(oct.zw)); }
#define ADD_SQUARES(k0) TILE_EACH_RUN(64, 64, i, r, c, \
    factors[i] += squaresOf(landedOct(nextX[i], r, (k0) + c, K, LIMIT)) + squaresOf(landedOct(nextY[i], r, (k0) + 64 + c, K, LIMIT));)
// From the pair at channel 0 in the registers, which is there again afterwards, to 1 / |row|.
#define FIND_FACTORS(p, lengths) { \
    [[unroll]] for (uint i = 0; i < RUNS; i++) factors[i] = 0; \
    ADD_SQUARES(0) \
    if (TILES > 2) { \
        [[dont_unroll]] for (uint k0 = 128; k0 < K; k0 += 128) { \
            FETCH_PAIR(p, k0) \
            ADD_SQUARES(k0) \
        } \
        FETCH_PAIR(p, 0) \
    } \
    TILE_EACH_RUN(64, 64, i, r, c, \
        [[unroll]] for (uint o = 4; o > 0; o /= 2) factors[i] += subgroupShuffleXor(factors[i], o); \
        factors[i] = inversesqrt(factors[i] + args.eps); \
        if (c == 0 && LENGTHS == LENGTHS_ONLY) tileVector[192 + r] = factors[i]; \
        if (c == 0 && r < count && !isNull(lengths)) atF(lengths, token).v[r * H] = factors[i];) }
#define SCALE(next, k0, p) TILE_EACH_RUN(64, 64, i, r, c, \
    next[i] = tileScaled(next[i], factors[i]); \
    storeOct(atT(p, token * K), r * H * K + (k0) + c, TILE_SOLID ? 8 : r < count ? int(K) - int((k0) + c) : 0, next[i].xy, next[i].zw);)
#define SCALE_PAIR(k0, p) { \
    SCALE(nextX, k0, p) \
    SCALE(nextY, (k0) + 64, p) }
#define BEGIN_NORMS if (NORMS) FIND_FACTORS(rowsA, args.lengthsK)
#define FETCH_QUERIES if (NORMS) FETCH_PAIR(rowsQ, 0)
#define UNIT_QUERIES if (NORMS) { \
    FIND_FACTORS(rowsQ, args.lengthsQ) \
    if (LENGTHS == UNIT_ROWS) [[dont_unroll]] for (uint k0 = 0; k0 < K; k0 += 128) { \
        if (TILES > 2 && k0 > 0) FETCH_PAIR(rowsQ, k0) \
        SCALE_PAIR(k0, args.unitQ) \
    } }
#define AHEAD TILE_AHEAD(nextX, 1, 64, 64) TILE_AHEAD(nextY, 1, 64, 64) float factors[RUNS];

// A in fp32 where it lies, and M out of it.
#define PUT_PRODUCTS(acc) { \
    accSpread(acc, 0) \
    barrier(); \
    TILE_DEAL(i, 1024) putFloats(i / 16 * INVERSE_STRIDE + i % 16 * 4, correction(i / 16, i % 16 * 4, getFloats(i / 16 * INVERSE_STRIDE + i % 16 * 4), count)); }

#else
#define AHEAD
#define FETCH_KEYS(k0) {}
#define NEXT_KEYS(k0) {}
#define KEYS_STEP WIDTH
#define LAND_KEYS(k0) { \
    TILE_SCALED_ROWS(x, 64, WIDTH, rowsA, 0, k0, K, H * K, count, r, (LENGTHS == UNIT_ROWS ? tileVector[192 + r] : 1.0)) \
    TILE_SCALED_ROWS(y, 64, WIDTH, rowsK, 0, k0, K, H * K, count, r, (LENGTHS == UNIT_ROWS ? tileVector[192 + r] : 1.0)) }
#define TIMES_KEYS(acc) mma(acc, x, T(y), WIDTH);
// Four invocations sum up a row's squares.
#define PUT_LENGTHS(p, unit, lengths) { \
    [[dont_unroll]] for (uint i = lane; i < 256; i += gl_WorkGroupSize.x) { \
        float sum = 0; \
        [[dont_unroll]] for (uint c = i % 4 * 4; c < K; c += 16) { \
            vec4 x = widen(rowQuad(p, i / 4, c, K, H * K, count)); \
            sum += dot(x, x); \
        } \
        tilePutFloat(i, sum); \
    } \
    barrier(); \
    if (lane < 64) { \
        float sum = 0; \
        for (uint i = 0; i < 4; i++) sum += tileGetFloat(4 * lane + i); \
        tileVector[192 + lane] = inversesqrt(sum + args.eps); \
        if (lane < count && !isNull(lengths)) atF(lengths, token).v[lane * H] = tileVector[192 + lane]; \
    } \
    barrier(); \
    if (LENGTHS == UNIT_ROWS) [[dont_unroll]] for (uint i = lane; i < 64 * ((K + 3) / 4); i += gl_WorkGroupSize.x) { \
        uint r = i / ((K + 3) / 4), c = i % ((K + 3) / 4) * 4; \
        storeTail4T(atT(unit, token * K), r * H * K + c, r < count ? int(K) - int(c) : 0, tileVector[192 + r] * widen(rowQuad(p, r, c, K, H * K, count))); \
    } }
#define BEGIN_NORMS if (NORMS) PUT_LENGTHS(rowsA, args.unitK, args.lengthsK)
#define FETCH_QUERIES {}
#define UNIT_QUERIES if (NORMS) { \
    barrier(); \
    PUT_LENGTHS(rowsQ, args.unitQ, args.lengthsQ) }
#define PUT_PRODUCTS(acc) ACC_EACH(acc, r, c, x, putFloats(r * INVERSE_STRIDE + c, correction(r, c, x, count));)
#endif

void main() {
    Chunk chunk = chunkAt(WHOLE ? I32Buf(0ul) : args.packed, args.N, gl_WorkGroupID.x, args.T, C);
    if (chunk.sequence < 0) return;
    uint count = WHOLE ? 64 : chunk.tokens.count, lane = gl_LocalInvocationIndex;
    uint64_t token = uint64_t(chunk.tokens.first) * H + head;
    TBuf rowsA = atT(args.a, token * K), rowsK = atT(args.k, token * K), rowsQ = atT(args.q, token * K), rowsM = atT(args.M, token * C);
    F32Buf gates = atF(args.gate, token);

    AHEAD
    FETCH_KEYS(0)
    // tileVector: beta, G and Ga of the chunk's tokens; inverse lengths.
    if (lane < 64) {
        uint r = min(lane, count - 1);
        tileVector[lane] = isNull(args.beta) ? 1.0 : atF(args.beta, token).v[r * H];
        if (GATE == HEADS) {
            tileVector[64 + lane] = gates.v[r * H];
            tileVector[128 + lane] = EXCLUSIVE ? (r == 0 ? 0.0 : gates.v[(max(r, 1) - 1) * H]) : gates.v[r * H];
        }
    }
    Tile M = Tile(0, tileStride(64), false), x = Tile(0, tileStride(WIDTH), false), y = Tile(tileQuads(64, WIDTH), tileStride(WIDTH), false);
    Acc acc;
    accZero(acc);
    BEGIN_NORMS
    [[dont_unroll]] for (uint k0 = 0; k0 < K; k0 += KEYS_STEP) {
        LAND_KEYS(k0)
        barrier();
        NEXT_KEYS(k0 + KEYS_STEP)
        TIMES_KEYS(acc)
        barrier();
    }
    FETCH_QUERIES
    PUT_PRODUCTS(acc)
    invert(C);
    PUT_INVERSE
    UNIT_QUERIES
}
