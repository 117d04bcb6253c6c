// KKT, TRI and WU: the WY form of a chunk's corrections, all of them at once.
//   A_rs = beta_r e^{Ga_r - G_s} a_r . k_s for s < r, M = (I + A)^-1, W = M (beta e^{Ga} * a), U = M (beta * v)
// G is the cumulative log decay in the chunk; Ga_r = G_r, or with EXCLUSIVE G_{r-1}.
// SOURCE 0: A from a and k (a gate of heads or none); 1: A = sign beta_r scores_rs, of any gate; 2: M is given.
// SECOND: U = (M second) v instead, without beta, and MA = M second is kept.
// a, k, W [tokens, H, K]; v, U [tokens, H, V]; beta fp32 [tokens, H] or null (1); gate fp32 [tokens, H] or [tokens, H, K] by GATE;
// scores, second, MA fp32 [tokens, H, C], scores and second read for s < r, MA written for s < r; M [tokens, H, C].
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
    TBuf a; TBuf k; TBuf v; F32Buf beta; F32Buf gate; F32Buf scores; F32Buf second; TBuf M; TBuf W; TBuf U; F32Buf MA; I32Buf packed;
    uint N; uint T; uint C; uint H; uint K; uint V; float sign;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // chunk_tiles.glsl
layout(constant_id = 10) const uint SOURCE = 0;
layout(constant_id = 11) const uint GATE = 0;
layout(constant_id = 12) const bool EXCLUSIVE = false;
layout(constant_id = 13) const bool SECOND = false;

const uint KEYS = 0, SCORES = 1, INVERSE = 2;

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
// Either SLICE columns of a and k, or A in fp32, or M and SLICE rows of a or v.
#define QUADS_KEYS (2 * tileQuads(64, SLICE))
#define QUADS_FACTOR (tileQuads(64, 64) + tileQuads(SLICE, 64))
#define QUADS_MOST (QUADS_KEYS > QUADS_FACTOR ? QUADS_KEYS : QUADS_FACTOR)
#define TILE_QUADS (QUADS_MOST > INVERSE_QUADS ? QUADS_MOST : INVERSE_QUADS)
#define TILE_VECTOR 192
#ifdef MM_coopmat
#define INVERSE_QUADS 2176
#else
#define INVERSE_QUADS 1088
#endif
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "delta/gates.glsl"
#include "delta/inverse.glsl"
#include "delta/save.glsl"

uint K = args.K, V = args.V, H = args.H, C = args.C, head = gl_WorkGroupID.y;

// Four of row r's elements of A, from sum's products.
vec4 correction(uint r, uint c, vec4 products, uint count) {
    vec4 x = vec4(0);
    [[unroll]] for (uint e = 0; e < 4; e++) {
        if (c + e < r && r < count) x[e] = products[e] * tileVector[r] * (GATE == HEADS ? exp(tileVector[128 + r] - tileVector[64 + c + e]) : 1.0);
    }
    return x;
}

vec4 unitLower(uint r, uint c, vec4 x) {
    return vec4(equal(uvec4(c, c + 1, c + 2, c + 3), uvec4(r))) + mix(vec4(0), x, lessThan(uvec4(c, c + 1, c + 2, c + 3), uvec4(r)));
}

vec4 strictLower(F32Buf A, uint r, uint c, uint count) {
    return r < count && c < C ? mix(vec4(0), load4F(A, r * H * C + c), lessThan(uvec4(c, c + 1, c + 2, c + 3), uvec4(r))) : vec4(0);
}

// Operands are read while the products of those before run: a slice of a and k; or SLICE rows of a or v, 64 columns wide.
#ifdef MM_coopmat
#define AHEAD TILE_AHEAD(nextX, 1, 64, SLICE) TILE_AHEAD(nextY, 1, 64, SLICE) TILE_AHEAD(nextRows, 1, SLICE, 64)
#define FETCH_KEYS(k0) { \
    TILE_FETCH(nextX, 0, 64, SLICE, rowsA, 0, k0, K, H * K, count) \
    TILE_FETCH(nextY, 0, 64, SLICE, rowsK, 0, k0, K, H * K, count) }
#define LAND_KEYS(k0) { \
    TILE_LAND(x, 64, SLICE, nextX, 0, 0, k0, K, count) \
    TILE_LAND(y, 64, SLICE, nextY, 0, 0, k0, K, count) }
#define FETCH_ROWS(p, s0, c0, width) TILE_FETCH(nextRows, 0, SLICE, 64, p, s0, c0, width, H * width, count)
#define LAND_ROWS(p, s0, c0, width, r, factor) TILE_LAND_SCALED(rows, SLICE, 64, nextRows, 0, s0, c0, width, count, r, factor)
#else
#define AHEAD
#define FETCH_KEYS(k0) {}
#define LAND_KEYS(k0) { \
    TILE_ROWS(x, 64, SLICE, rowsA, 0, k0, K, H * K, count) \
    TILE_ROWS(y, 64, SLICE, rowsK, 0, k0, K, H * K, count) }
#define FETCH_ROWS(p, s0, c0, width) {}
#define LAND_ROWS(p, s0, c0, width, r, factor) TILE_SCALED_ROWS(rows, SLICE, 64, p, s0, c0, width, H * width, count, r, factor)
#endif

// 64 columns of the result, through the rows' place where that is a whole tile.
#define SAVE(acc, p, c0, width) { \
    if (SLICE == 64) { \
        accLay(acc, rows) \
        barrier(); \
        TILE_SAVE(rows, 64, 64, p, r, c, r * H * width + c0 + c, r < count ? int(width) - int(c0 + c) : 0) \
        barrier(); \
    } else { \
        ACC_STORE(acc, p, r, c, r * H * width + c0 + c, (r < count ? int(width) - int(c0 + c) : 0), x, x) \
    } }

void main() {
    Chunk chunk = chunkAt(args.packed, args.N, gl_WorkGroupID.x, args.T, C);
    if (chunk.sequence < 0) return;
    uint count = chunk.tokens.count, lane = gl_LocalInvocationIndex;
    uint64_t token = uint64_t(chunk.tokens.first) * H + head;
    TBuf rowsA = atT(args.a, token * K), rowsK = atT(args.k, token * K), rowsV = atT(args.v, token * V), rowsM = atT(args.M, token * C);
    F32Buf gates = atF(args.gate, token * (GATE == CHANNELS ? K : 1));

    // tileVector: beta, G and Ga of the chunk's tokens.
    if (lane < 64) {
        uint r = min(lane, count - 1);
        tileVector[lane] = isNull(args.beta) ? 1.0 : atF(args.beta, token).v[r * H];
        if (GATE == HEADS) {
            tileVector[64 + lane] = gates.v[r * H];
            tileVector[128 + lane] = EXCLUSIVE ? (r == 0 ? 0.0 : gates.v[(max(r, 1) - 1) * H]) : gates.v[r * H];
        }
    }
    AHEAD
    Tile M = Tile(0, tileStride(64), false), rows = Tile(tileQuads(64, 64), tileStride(64), false);
    if (GATE != CHANNELS) FETCH_ROWS(rowsA, 0, 0, K)
    if (SOURCE == INVERSE) {
        TILE_ROWS(M, 64, 64, rowsM, 0, 0, C, H * C, count)
        barrier();
    } else {
        Acc acc;
        accZero(acc);
        if (SOURCE == KEYS) {
            Tile x = Tile(0, tileStride(SLICE), false), y = Tile(tileQuads(64, SLICE), tileStride(SLICE), false);
            FETCH_KEYS(0)
            [[dont_unroll]] for (uint k0 = 0; k0 < K; k0 += SLICE) {
                LAND_KEYS(k0)
                barrier();
                if (k0 + SLICE < K) FETCH_KEYS(k0 + SLICE)
                mma(acc, x, T(y), SLICE);
                barrier();
            }
            ACC_EACH(acc, r, c, x, putFloats(r * INVERSE_STRIDE + c, correction(r, c, x, count));)
        } else {
            barrier();
            F32Buf scores = atF(args.scores, token * C);
            TILE_DEAL(i, 1024) {
                uint r = i / 16, c = i % 16 * 4;
                putFloats(r * INVERSE_STRIDE + c, args.sign * tileVector[r] * strictLower(scores, r, c, count));
            }
        }
        invert(C);
        ACC_SET(acc, r, c, unitLower(r, c, getFloats(r * INVERSE_STRIDE + c)))
        barrier();
        accLay(acc, M)
        barrier();
        TILE_SAVE(M, 64, 64, rowsM, r, c, r * H * C + c, r < count ? int(C) - int(c) : 0)
    }

    TBuf W = atT(args.W, token * K), U = atT(args.U, token * V);
    if (GATE != CHANNELS) {
        if (lane < 64) tileVector[64 + lane] = tileVector[lane] * (GATE == HEADS ? exp(tileVector[128 + lane]) : 1.0);
        barrier();
    }
    [[dont_unroll]] for (uint k0 = 0; k0 < K; k0 += 64) {
        Acc acc;
        accZero(acc);
        [[dont_unroll]] for (uint s0 = 0; s0 < count; s0 += SLICE) {
            if (GATE == CHANNELS) {
                TILE_STAGE(rows, SLICE, 64, r, c, (s0 + r < count
                    ? tileVector[s0 + r] * widen(rowQuad(rowsA, s0 + r, k0 + c, K, H * K, count)) * entryFactor(gates, s0 + r, k0 + c, K, H * K, count, EXCLUSIVE)
                    : vec4(0)))
            } else {
                LAND_ROWS(rowsA, s0, k0, K, r, tileVector[64 + s0 + r])
            }
            barrier();
            if (GATE != CHANNELS) {
                bool isLast = s0 + SLICE >= count;
                if (!isLast || k0 + 64 < K) FETCH_ROWS(rowsA, isLast ? 0 : s0 + SLICE, isLast ? k0 + 64 : k0, K)
            }
            mma(acc, Tile(M.at + s0 / 4, M.stride, false), rows, SLICE);
            barrier();
        }
        SAVE(acc, W, k0, K)
    }
    if (SECOND) {
        F32Buf second = atF(args.second, token * C), MA = atF(args.MA, token * C);
        Acc acc;
        accZero(acc);
        [[dont_unroll]] for (uint s0 = 0; s0 < count; s0 += SLICE) {
            TILE_STAGE(rows, SLICE, 64, r, c, strictLower(second, s0 + r, c, count))
            barrier();
            mma(acc, Tile(M.at + s0 / 4, M.stride, false), rows, SLICE);
            barrier();
        }
        ACC_EACH(acc, r, c, x, if (r < count && c < C) store4F(MA, r * H * C + c, x);)
        accLay(acc, M)
    }
    FETCH_ROWS(rowsV, 0, 0, V)
    [[dont_unroll]] for (uint v0 = 0; v0 < V; v0 += 64) {
        Acc acc;
        accZero(acc);
        [[dont_unroll]] for (uint s0 = 0; s0 < count; s0 += SLICE) {
            LAND_ROWS(rowsV, s0, v0, V, r, tileVector[s0 + r])
            barrier();
            bool isLast = s0 + SLICE >= count;
            if (!isLast || v0 + 64 < V) FETCH_ROWS(rowsV, isLast ? 0 : s0 + SLICE, isLast ? v0 + 64 : v0, V)
            mma(acc, Tile(M.at + s0 / 4, M.stride, false), rows, SLICE);
            barrier();
        }
        SAVE(acc, U, v0, V)
    }
}
