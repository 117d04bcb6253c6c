// TRI: the inverse of a chunk's corrections under a gate of channels, from products that were made before (chunk_scores.comp).
//   M = (I + A)^-1, A = sign beta_r scores_rs for s < r
// SECOND: also U = second v, what a second writer gives to the corrections.
// PRODUCTS: also W = M (beta * a) and U = M (beta * v).
// a, W [tokens, H, K]; v, U [tokens, H, V]; beta fp32 [tokens, H] or null (1); scores fp32 [tokens, H, C], read for s < r; second [tokens, H, C], zero for s >= r; M [tokens, H, C].
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
    TBuf a; TBuf v; F32Buf beta; F32Buf scores; TBuf second; TBuf M; TBuf W; TBuf U; I32Buf packed;
    uint N; uint T; uint C; uint H; uint K; uint V; float sign;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // chunk_tiles.glsl
layout(constant_id = 10) const bool SECOND = false;
layout(constant_id = 11) const bool FULL = false;          // widths are multiples of 64
layout(constant_id = 12) const bool WHOLE = false;         // every chunk has 64 tokens
layout(constant_id = 13) const bool PRODUCTS = false;

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
#define TILE_SOLID (FULL && WHOLE)
#ifdef MM_coopmat
// Two tiles: little enough shared memory for several workgroups at once.
#define WIDTH 64
#define TILE_QUADS (2 * tileQuads(64, 64))
#define TILE_BARE
#else
// Either A in fp32, or a factor and WIDTH rows of v or a.
#define WIDTH SLICE
#define TILE_QUADS (tileQuads(64, 64) + tileQuads(WIDTH, 64))
#endif
#define TILE_VECTOR 64
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "delta/inverse.glsl"
#include "delta/tiles.glsl"
#include "delta/save.glsl"

uint K = args.K, V = args.V, H = args.H, C = WHOLE ? 64 : args.C, head = gl_WorkGroupID.y;

vec4 scoresAt(F32Buf A, uint r, uint c, uint count) { return load4F(A, r < count && c < C ? r * H * C + c : 0); }
vec4 lowerScores(uint r, uint c, vec4 x, uint count) {
    return r < count && c < C ? args.sign * tileVector[r] * mix(vec4(0), x, lessThan(uvec4(c, c + 1, c + 2, c + 3), uvec4(r))) : vec4(0);
}

// The second factor and 64 columns of v, or a, are read while A is inverted.
#ifdef MM_coopmat
#define AHEAD TILE_AHEAD(nextA, 1, 64, 64) TILE_AHEAD(nextRows, 1, 64, 64)
#define LIMIT (WHOLE ? EVERY_ROW : count)
#define FETCH_SECOND TILE_FETCH(nextA, 0, 64, 64, second, 0, 0, C, H * C, LIMIT)
#define LAND_SECOND TILE_LAND(left, 64, 64, nextA, 0, 0, 0, C, LIMIT)
#define FETCH_ROWS(p, c0, width) TILE_FETCH(nextRows, 0, 64, 64, p, 0, c0, width, H * (width), LIMIT)
#define LAND_ROWS(p, s0, c0, width) \
    if (PRODUCTS) TILE_LAND_SCALED(rows, 64, 64, nextRows, 0, s0, c0, width, LIMIT, r, tileVector[s0 + r]) \
    else TILE_LAND(rows, 64, 64, nextRows, 0, s0, c0, width, LIMIT)

// A in fp32 where it lies.
#define PUT_SCORES { \
    vec4 next[1024 / gl_WorkGroupSize.x]; \
    TILE_DEAL(i, 1024) next[tileJ / gl_WorkGroupSize.x] = scoresAt(scores, i / 16, i % 16 * 4, count); \
    barrier(); \
    TILE_DEAL(i, 1024) putFloats(i / 16 * INVERSE_STRIDE + i % 16 * 4, lowerScores(i / 16, i % 16 * 4, next[tileJ / gl_WorkGroupSize.x], count)); }

// 64 columns of the result, through the rows' place.
#define SAVE(acc, p, c0, width) { \
    accLay(acc, rows) \
    barrier(); \
    TILE_SAVE(rows, 64, 64, p, r, c, r * H * width + c0 + c, TILE_SOLID ? 8 : r < count ? int(width) - int(c0 + c) : 0) \
    barrier(); }
#else
#define AHEAD
#define FETCH_SECOND {}
#define FETCH_ROWS(p, c0, width) {}
#define LAND_SECOND TILE_ROWS(left, 64, 64, second, 0, 0, C, H * C, count)
#define LAND_ROWS(p, s0, c0, width) TILE_SCALED_ROWS(rows, WIDTH, 64, p, s0, c0, width, H * width, count, r, (PRODUCTS ? tileVector[s0 + r] : 1.0))
#define PUT_SCORES { \
    barrier(); \
    TILE_DEAL(i, 1024) putFloats(i / 16 * INVERSE_STRIDE + i % 16 * 4, lowerScores(i / 16, i % 16 * 4, scoresAt(scores, i / 16, i % 16 * 4, count), count)); }
#define SAVE(acc, p, c0, width) ACC_STORE(acc, p, r, c, r * H * width + c0 + c, (r < count ? int(width) - int(c0 + c) : 0), x, x)
#endif
// left times the rows of an array; then `last` columns of `next` are to come.
#define MULTIPLY(p, to, width, next, last) \
    [[dont_unroll]] for (uint c0 = 0; c0 < width; c0 += 64) { \
        Acc acc; \
        accZero(acc); \
        [[dont_unroll]] for (uint s0 = 0; s0 < count; s0 += WIDTH) { \
            LAND_ROWS(p, s0, c0, width) \
            barrier(); \
            bool isLast = c0 + 64 >= width; \
            uint following = isLast ? last : width; \
            FETCH_ROWS((isLast ? next : p), (isLast ? 0 : c0 + 64), following) \
            mma(acc, Tile(left.at + s0 / 4, left.stride, false), rows, WIDTH); \
            barrier(); \
        } \
        SAVE(acc, to, c0, width) \
    }

void main() {
    Chunk chunk = chunkAt(WHOLE ? I32Buf(0ul) : args.packed, args.N, gl_WorkGroupID.x, args.T, C);
    if (chunk.sequence < 0) return;
    uint count = WHOLE ? 64 : chunk.tokens.count, lane = gl_LocalInvocationIndex;
    uint64_t token = uint64_t(chunk.tokens.first) * H + head;
    // (Loads of a uniform address are made even where they are not wanted: it has to be one.)
    TBuf rowsM = atT(args.M, token * C), second = SECOND ? atT(args.second, token * C) : rowsM, rowsV = SECOND || PRODUCTS ? atT(args.v, token * V) : rowsM, rowsA = PRODUCTS ? atT(args.a, token * K) : rowsM;
    F32Buf scores = atF(args.scores, token * C);

    AHEAD
    // tileVector: beta of the chunk's tokens.
    if (lane < 64) tileVector[lane] = isNull(args.beta) ? 1.0 : atF(args.beta, token).v[min(lane, count - 1) * H];
    Tile M = Tile(0, tileStride(64), false), left = M, rows = Tile(tileQuads(64, 64), tileStride(64), false);
    if (SECOND) FETCH_SECOND
    if (SECOND) FETCH_ROWS(rowsV, 0, V)
    if (PRODUCTS) FETCH_ROWS(rowsA, 0, K)
    PUT_SCORES
    invert(C);
    PUT_INVERSE
    if (!SECOND && !PRODUCTS) return;

    barrier();
    if (SECOND) LAND_SECOND
    if (PRODUCTS) MULTIPLY(rowsA, atT(args.W, token * K), K, rowsV, V)
    MULTIPLY(rowsV, atT(args.U, token * V), V, rowsV, V)
}
