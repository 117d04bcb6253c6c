// TRI and WU: the WY form of a chunk's corrections under a gate of channels, all of them at once.
//   A = sign beta_r scores_rs for s < r, M = (I + A)^-1, W = M (beta e^{Ga} * a), U = M (beta * v)
// G is the cumulative log decay in the chunk; Ga_r = G_r, or with EXCLUSIVE G_{r-1}; but with GATED e^{Ga} is in a.
// GIVEN: M is given.
// SECOND: U = (M second) v instead, without beta, and MA = M second is kept.
// a, W [tokens, H, K]; v, U [tokens, H, V]; beta fp32 [tokens, H] or null (1); gate fp32 [tokens, H, K];
// scores, second fp32 [tokens, H, C], read for s < r; M, MA [tokens, H, C].
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
    TBuf a; TBuf v; F32Buf beta; F32Buf gate; F32Buf scores; F32Buf second; TBuf M; TBuf W; TBuf U; TBuf MA; I32Buf packed;
    uint N; uint T; uint C; uint H; uint K; uint V; float sign;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // chunk_tiles.glsl
layout(constant_id = 10) const bool GIVEN = false;
layout(constant_id = 11) const bool EXCLUSIVE = false;
layout(constant_id = 12) const bool SECOND = false;
layout(constant_id = 13) const bool FULL = false;          // widths are multiples of 64
layout(constant_id = 14) const bool WHOLE = false;         // every chunk has 64 tokens
layout(constant_id = 15) const bool GATED = false;

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
#define TILE_SOLID (FULL && WHOLE)
#ifdef MM_coopmat
// Two tiles: little enough shared memory for several workgroups at once.
#define WIDTH 64
#define TILE_QUADS (2 * tileQuads(64, 64))
#define TILE_BARE
#else
// Either A in fp32, or M and WIDTH rows of a or v.
#define WIDTH SLICE
#define TILE_QUADS (tileQuads(64, 64) + tileQuads(WIDTH, 64))
#endif
#define TILE_VECTOR 64
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "delta/gates.glsl"
#include "delta/inverse.glsl"
#include "delta/tiles.glsl"
#include "delta/save.glsl"

uint K = args.K, V = args.V, H = args.H, C = WHOLE ? 64 : args.C, head = gl_WorkGroupID.y;

vec4 scoresAt(F32Buf A, uint r, uint c, uint count) { return load4F(A, r < count && c < C ? r * H * C + c : 0); }
vec4 strictLower(uint r, uint c, vec4 x, uint count) {
    return r < count && c < C ? mix(vec4(0), x, lessThan(uvec4(c, c + 1, c + 2, c + 3), uvec4(r))) : vec4(0);
}

vec4 lowerScores(uint r, uint c, vec4 x, uint count) { return args.sign * tileVector[r] * strictLower(r, c, x, count); }

// Operands are read while the products of those before run: WIDTH rows of a or v, 64 columns wide.
#ifdef MM_coopmat
#define AHEAD TILE_AHEAD(nextX, 1, 64, 64) vec4 nextGates[2 * TILE_RUNS(64, 64)];
#define FETCH_ROWS(p, s0, c0, width) TILE_FETCH(nextX, 0, 64, 64, p, s0, c0, width, H * (width), count)
#define LAND_ROWS(p, s0, c0, width, r, factor) TILE_LAND_SCALED(rows, 64, 64, nextX, 0, s0, c0, width, count, r, factor)
// Rows of a under a gate of channels, with the decays that they see.
#define FETCH_GATES(c0) \
    TILE_EACH_RUN(64, 64, i, r, c, \
        nextGates[2 * i] = nextQuadF(gates, EXCLUSIVE ? max(r, 1) - 1 : r, (c0) + c, K, H * K, count); \
        nextGates[2 * i + 1] = nextQuadF(gates, EXCLUSIVE ? max(r, 1) - 1 : r, (c0) + c + 4, K, H * K, count);)
vec4 entry(uint r, vec4 g) { return tileVector[r] * (EXCLUSIVE && r == 0 ? vec4(1) : exp(g)); }
uvec4 gatedOct(uvec4 oct, vec4 low, vec4 high) { return uvec4(tilePack(unpack4(oct.xy) * low), tilePack(unpack4(oct.zw) * high)); }
#define LAND_GATED(s0, c0) TILE_LAND_RUNS(rows, 64, 64, r, c, \
    gatedOct(landedOct(nextX[tileJ], r, (c0) + c, K, count), entry(r, nextGates[2 * tileJ]), entry(r, nextGates[2 * tileJ + 1])))

// A in fp32 where it lies, and M out of it.
#define PUT_SCORES { \
    vec4 next[1024 / gl_WorkGroupSize.x]; \
    TILE_DEAL(i, 1024) next[tileJ / gl_WorkGroupSize.x] = scoresAt(scores, i / 16, i % 16 * 4, count); \
    barrier(); \
    TILE_DEAL(i, 1024) putFloats(i / 16 * INVERSE_STRIDE + i % 16 * 4, lowerScores(i / 16, i % 16 * 4, next[tileJ / gl_WorkGroupSize.x], count)); }

#define LAND_SECOND(s0) { \
    vec4 next[2 * TILE_RUNS(64, 64)]; \
    TILE_EACH_RUN(64, 64, i, r, c, next[2 * i] = scoresAt(second, r, c, count); next[2 * i + 1] = scoresAt(second, r, c + 4, count);) \
    TILE_LAND_RUNS(rows, 64, 64, r, c, uvec4(tilePack(strictLower(r, c, next[2 * tileJ], count)), tilePack(strictLower(r, c + 4, next[2 * tileJ + 1], count)))) }

// 64 columns of the result, through the rows' place.
#define SAVE(acc, p, c0, width) { \
    accLay(acc, rows) \
    barrier(); \
    TILE_SAVE(rows, 64, 64, p, r, c, r * H * width + c0 + c, TILE_SOLID ? 8 : r < count ? int(width) - int(c0 + c) : 0) \
    barrier(); }
#else
#define AHEAD
#define FETCH_ROWS(p, s0, c0, width) {}
#define FETCH_GATES(c0) {}
#define LAND_GATED(s0, c0) TILE_STAGE(rows, WIDTH, 64, r, c, (s0 + r < count \
    ? tileVector[s0 + r] * widen(rowQuad(rowsA, s0 + r, c0 + c, K, H * K, count)) * entryFactor(gates, s0 + r, c0 + c, K, H * K, count, EXCLUSIVE) \
    : vec4(0)))
#define PUT_SCORES { \
    barrier(); \
    TILE_DEAL(i, 1024) putFloats(i / 16 * INVERSE_STRIDE + i % 16 * 4, lowerScores(i / 16, i % 16 * 4, scoresAt(scores, i / 16, i % 16 * 4, count), count)); }
#define LAND_ROWS(p, s0, c0, width, r, factor) TILE_SCALED_ROWS(rows, WIDTH, 64, p, s0, c0, width, H * width, count, r, factor)
#define LAND_SECOND(s0) TILE_STAGE(rows, WIDTH, 64, r, c, strictLower(s0 + r, c, scoresAt(second, s0 + r, c, count), count))
#define SAVE(acc, p, c0, width) ACC_STORE(acc, p, r, c, r * H * width + c0 + c, (r < count ? int(width) - int(c0 + c) : 0), x, x)
#endif

void main() {
    Chunk chunk = chunkAt(WHOLE ? I32Buf(0ul) : args.packed, args.N, gl_WorkGroupID.x, args.T, C);
    if (chunk.sequence < 0) return;
    uint count = WHOLE ? 64 : chunk.tokens.count, lane = gl_LocalInvocationIndex;
    uint64_t token = uint64_t(chunk.tokens.first) * H + head;
    TBuf rowsA = atT(args.a, token * K), rowsV = atT(args.v, token * V), rowsM = atT(args.M, token * C);
    F32Buf gates = atF(args.gate, token * K);

    AHEAD
    // tileVector: beta of the chunk's tokens.
    if (lane < 64) tileVector[lane] = isNull(args.beta) ? 1.0 : atF(args.beta, token).v[min(lane, count - 1) * H];
    Tile M = Tile(0, tileStride(64), false), rows = Tile(tileQuads(64, 64), tileStride(64), false);
    F32Buf scores = atF(args.scores, token * C);
    FETCH_ROWS(rowsA, 0, 0, K)
    if (GIVEN) {
        if (!GATED) FETCH_GATES(0)
        TILE_ROWS(M, 64, 64, rowsM, 0, 0, C, H * C, count)
        barrier();
    } else {
        PUT_SCORES
        if (!GATED) FETCH_GATES(0)
        invert(C);
        PUT_INVERSE
    }

    TBuf W = atT(args.W, token * K), U = atT(args.U, token * V);
    [[dont_unroll]] for (uint k0 = 0; k0 < K; k0 += 64) {
        Acc acc;
        accZero(acc);
        [[dont_unroll]] for (uint s0 = 0; s0 < count; s0 += WIDTH) {
            if (GATED) {
                LAND_ROWS(rowsA, s0, k0, K, r, tileVector[s0 + r])
            } else {
                LAND_GATED(s0, k0)
            }
            barrier();
            bool isLast = k0 + 64 >= K;
            uint wide = isLast ? V : K;
            FETCH_ROWS((isLast ? rowsV : rowsA), 0, (isLast ? 0 : k0 + 64), wide)
            if (!GATED) FETCH_GATES((isLast ? k0 : k0 + 64))
            mma(acc, Tile(M.at + s0 / 4, M.stride, false), rows, WIDTH);
            barrier();
        }
        SAVE(acc, W, k0, K)
    }
    if (SECOND) {
        F32Buf second = atF(args.second, token * C);
        TBuf MA = atT(args.MA, token * C);
        Acc acc;
        accZero(acc);
        [[dont_unroll]] for (uint s0 = 0; s0 < count; s0 += WIDTH) {
            LAND_SECOND(s0)
            barrier();
            mma(acc, Tile(M.at + s0 / 4, M.stride, false), rows, WIDTH);
            barrier();
        }
        accLay(acc, M)
        barrier();
        TILE_SAVE(M, 64, 64, MA, r, c, r * H * C + c, r < count ? int(C) - int(c) : 0)
    }
    [[dont_unroll]] for (uint v0 = 0; v0 < V; v0 += 64) {
        Acc acc;
        accZero(acc);
        [[dont_unroll]] for (uint s0 = 0; s0 < count; s0 += WIDTH) {
            LAND_ROWS(rowsV, s0, v0, V, r, tileVector[s0 + r])
            barrier();
            FETCH_ROWS(rowsV, 0, (v0 + 64 < V ? v0 + 64 : v0), V)
            mma(acc, Tile(M.at + s0 / 4, M.stride, false), rows, WIDTH);
            barrier();
        }
        SAVE(acc, U, v0, V)
    }
}
