// Gradients of the products of a chunk's tokens (chunk_scores.comp), which chunk_gradients.comp takes on to rows of keys: with e the gradients of what readers
// give and v the values of writers,
//   A_rs = e_r . v_s for s < r, zero elsewhere; diagonal_r = e_r . v_r        times `scale`
// MADE: also of a second reader, of the corrections V~ = M (..) (wy.comp). Its e is X = beta M^T dU, dU the gradient of V~, times `sign`, and is kept: with
// a sign of -1 it is the gradient of v. dbeta = (M^T dU) . (V~ / beta); of a beta that is next to nothing V~ / beta is found anew, as v - (e^{Ga} a) h - (stril
// scores) V~, Ga = G_r or with `exclusive` G_{r-1}.
// e, dU, v, w, X, values [tokens, H, V]; M [tokens, H, C]; beta, dBeta fp32 [tokens, H] or null; A [readers x writers, tokens, H, C]; diagonal fp32
// [writers, tokens, H]; a [tokens, H, K]; gate: G fp32 [tokens, H, K]; h (state entering each chunk) [chunks, H, K, V]; scores fp32 [tokens, H, C].
// One workgroup a chunk (x) and head (y).
// @variants T=f32|f16|bf16 MM=plain|coopmat
// @exclude T=f32 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/sequences.glsl"

layout(buffer_reference, scalar, buffer_reference_align = 8) buffer Args {
    TBuf e; TBuf v; TBuf w; TBuf M; TBuf dU; F32Buf beta; TBuf A; F32Buf diagonal; TBuf X; F32Buf dBeta;
    TBuf values; TBuf a; F32Buf gate; TBuf h; F32Buf scores; I32Buf packed;
    uint N; uint T; uint C; uint H; uint K; uint V; uint tokens; uint exclusive; float scale; float sign;
};
layout(push_constant, scalar) uniform Arguments { Args args; };

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // chunk_tiles.glsl, of plain arithmetic
layout(constant_id = 10) const uint WRITERS = 1;
layout(constant_id = 11) const bool MADE = false;
layout(constant_id = 12) const bool FULL = false;          // widths are multiples of 64
layout(constant_id = 13) const bool DENSE = false;         // all chunks have 64 tokens
layout(constant_id = 14) const uint SLICES = 1;            // ceil(V / 64)

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
#define TILE_SOLID FULL
#ifdef MM_coopmat
#define TILE_QUADS (2 * tileQuads(64, 64))
#define TILE_BARE
#define FLOATS 68
#define PLACE (tileQuads(64, 64) * 2)
#else
#define OPERAND (tileQuads(64, SLICE) > tileQuads(SLICE, 64) ? tileQuads(64, SLICE) : tileQuads(SLICE, 64))
#define TILE_QUADS (tileQuads(64, 64) + OPERAND)
#define FLOATS 64
#define PLACE (tileQuads(64, 64) * 4)
#endif
#define TILE_VECTOR 128
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "delta/save.glsl"

// Below it beta is next to nothing: V~ / beta would be made of what little is left of V~ in the storage type.
#ifdef T_f16
const float LEAST = 1.0 / 64;
#else
const float LEAST = 1e-20;
#endif

shared uint tiny;

uint K = args.K, V = args.V, H = args.H, C = DENSE ? 64 : args.C, count;
Tile F = Tile(0, tileStride(64), false);

vec4 strictLower(uint r, uint c, vec4 x) { return mix(vec4(0), x, lessThan(uvec4(c, c + 1, c + 2, c + 3), uvec4(r))); }

#ifdef MM_coopmat
Tile B = Tile(tileQuads(64, 64), tileStride(64), false);
const uint RUNS = TILE_RUNS(64, 64);
#define FETCH(next, p, v0) TILE_FETCH(next, 0, 64, 64, p, 0, v0, V, H * V, count)
#define LAND(tile, next, v0) TILE_LAND(tile, 64, 64, next, 0, 0, v0, V, count)
uvec4 nextFactor(TBuf p, uint r, uint c) {
    if (DENSE) return U32x4Buf(uint64_t(p) + uint64_t(r * H * 64 + c) * 2ul).v;
    return loadOct(p, r * H * C + c, r < count ? int(C) - int(c) : 0);
}
#define FETCH_M TILE_EACH_RUN(64, 64, tileJ, r, c, nextM[tileJ] = nextFactor(rowsM, r, c);)
#define LAND_M TILE_LAND_RUNS(B, 64, 64, r, c, nextM[tileJ])
// Of the whole product into the pool, in fp32.
#define SPREAD(acc) accSpread(acc, 0)
#define SAVE(acc, p, factor) TILE_EACH_RUN(64, 64, j, r, c, \
    vec4 low = factor * strictLower(r, c, tileFloats(0, r, c)); \
    vec4 high = factor * strictLower(r, c + 4, tileFloats(0, r, c + 4)); \
    if (DENSE || r < count && c < C) storeOct(p, r * H * C + c, DENSE ? 8 : int(C) - int(c), tilePack(low), tilePack(high));)
#else
Tile columns = Tile(tileQuads(64, 64), tileStride(SLICE), false), rows = Tile(tileQuads(64, 64), tileStride(64), false);
// acc += F times the transpose of the rows of an array.
#define TIMES(acc, p) \
    [[dont_unroll]] for (uint s0 = 0; s0 < 64; s0 += SLICE) { \
        TILE_ROWS(columns, 64, SLICE, p, 0, v0 + s0, V, H * V, count) \
        barrier(); \
        mma(acc, Tile(F.at + s0 / 4, F.stride, false), T(columns), SLICE); \
        barrier(); \
    }
#define SPREAD(acc) ACC_EACH(acc, r, c, x, tilePool[r * 16 + c / 4] = x;)
#define SAVE(acc, p, factor) ACC_EACH(acc, r, c, x, if (r < count && c < C) storeTail4T(p, r * H * C + c, int(C) - int(c), factor * strictLower(r, c, x));)
#endif

// The products of reader i and writer j, times a factor; with it the diagonal stays in the pool until the next barrier.
#define SAVE_SCORES(acc, i, j, factor) { \
    TBuf scores = atT(args.A, (uint64_t((i) * WRITERS + (j)) * args.tokens * H + token) * C); \
    SPREAD(acc) \
    barrier(); \
    SAVE(acc, scores, (factor)) }

// For rows of a tiny beta, whose X without beta lies in F: 64 columns' share of dbeta.
void addTiny(uint64_t token, uint v0) {
    uint lane = gl_LocalInvocationIndex, parts = gl_WorkGroupSize.x / 64, part = lane / 64, v = v0 + lane % 64;
    TBuf rowsA = atT(args.a, token * K), h = atT(args.h, (uint64_t(gl_WorkGroupID.x) * H + gl_WorkGroupID.y) * K * V);
    TBuf given = atT(args.values, token * V), corrected = atT(args.v, token * V);
    F32Buf gates = atF(args.gate, token * K), scores = atF(args.scores, token * C);
    [[dont_unroll]] for (uint r = 0; r < count; r++) {
        if (abs(tileVector[r]) >= LEAST) continue;
        float rest = 0;
        if (v < V) {
            rest = part == 0 ? loadT(given, r * H * V + v) : 0.0;
            for (uint c = part; c < K; c += parts) {
                float decay = args.exclusive == 0 ? gates.v[r * H * K + c] : r == 0 ? 0.0 : gates.v[(max(r, 1) - 1) * H * K + c];
                rest -= loadT(rowsA, r * H * K + c) * exp(decay) * loadT(h, c * V + v);
            }
            for (uint s = part; s < r; s += parts) rest -= scores.v[r * H * C + s] * loadT(corrected, s * H * V + v);
            rest *= tileGet(F, r, lane % 64 & ~3)[lane % 4];
        }
        tilePutFloat(PLACE + lane, rest);
        barrier();
        if (lane == 0) {
            float sum = 0;
            for (uint i = 0; i < gl_WorkGroupSize.x; i++) sum += tileGetFloat(PLACE + i);
            tileVector[64 + r] += sum;
        }
        barrier();
    }
}

void main() {
    uint lane = gl_LocalInvocationIndex, head = gl_WorkGroupID.y, first = gl_WorkGroupID.x * 64;
    count = 64;
    if (!DENSE) {
        Chunk chunk = chunkAt(args.packed, args.N, gl_WorkGroupID.x, args.T, C);
        if (chunk.sequence < 0) return;
        first = chunk.tokens.first;
        count = chunk.tokens.count;
    }
    uint64_t token = uint64_t(first) * H + head;
    TBuf rowsE = atT(args.e, token * V), rowsV = atT(args.v, token * V), rowsW = atT(WRITERS > 1 ? args.w : args.v, token * V);
    TBuf rowsU = atT(MADE ? args.dU : args.e, token * V), rowsX = atT(MADE ? args.X : args.e, token * V), rowsM = atT(MADE ? args.M : args.A, token * C);
    bool wantsBeta = MADE && !isNull(args.dBeta);

#ifdef MM_coopmat
    uvec4 nextM[RUNS]; uvec4 nextE[RUNS]; uvec4 nextU[RUNS]; uvec4 nextV[RUNS]; uvec4 nextW[RUNS];
    if (MADE) FETCH_M
    if (MADE) FETCH(nextU, rowsU, 0)
    else FETCH(nextE, rowsE, 0)
    if (!MADE) FETCH(nextV, rowsV, 0)
#endif
    float beta = 1;
    if (MADE) {
        if (lane < 64) beta = isNull(args.beta) ? 1.0 : atF(args.beta, token).v[min(lane, count - 1) * H];
        if (lane == 0) tiny = 0;
        barrier();
        if (lane < 64) {
            tileVector[lane] = beta;
            tileVector[64 + lane] = 0;
            if (lane < count && wantsBeta && abs(beta) < LEAST) tiny = 1;
        }
    }
    Acc readV, readW, madeV, madeW;
    accZero(readV);
    accZero(readW);
    accZero(madeV);
    accZero(madeW);
    STRAIGHT for (uint s = 0; s < sliceTrip(SLICES); s++) {
        uint v0 = s * 64;
#ifdef MM_coopmat
        if (MADE) {
            LAND(F, nextU, v0)
            LAND_M
            barrier();
            FETCH(nextV, rowsV, v0)
            if (WRITERS > 1) FETCH(nextW, rowsW, v0)
            Acc x;
            accZero(x);
            mma(x, T(B), F, 64);
            barrier();
            if (tiny != 0) {
                accLay(x, F)
                barrier();
                addTiny(token, v0);
            }
            accScaleRows(x, 0);
            accLay(x, F)
            if (WRITERS > 1) LAND(B, nextW, v0)
            else LAND(B, nextV, v0)
            barrier();
            FETCH(nextE, rowsE, v0)
            TILE_SAVE(F, 64, 64, rowsX, r, c, r * H * V + v0 + c, (DENSE && FULL ? 8 : r < count ? int(V) - int(v0 + c) : 0))
            if (WRITERS > 1) {
                mma(madeW, F, T(B), 64);
                barrier();
                LAND(B, nextV, v0)
                barrier();
            }
            mma(madeV, F, T(B), 64);
            barrier();
            LAND(F, nextE, v0)
            barrier();
            if (s + 1 < SLICES) FETCH(nextU, rowsU, v0 + 64)
            if (s + 1 < SLICES) FETCH_M
            mma(readV, F, T(B), 64);
            barrier();
            if (WRITERS > 1) {
                LAND(B, nextW, v0)
                barrier();
                mma(readW, F, T(B), 64);
                barrier();
            }
        } else {
            LAND(F, nextE, v0)
            LAND(B, nextV, v0)
            barrier();
            if (s + 1 < SLICES) FETCH(nextE, rowsE, v0 + 64)
            if (s + 1 < SLICES) FETCH(nextV, rowsV, v0 + 64)
            mma(readV, F, T(B), 64);
            barrier();
        }
#else
        if (MADE) {
            TILE_ROWS(F, 64, 64, rowsU, 0, v0, V, H * V, count)
            Acc x;
            accZero(x);
            [[dont_unroll]] for (uint m0 = 0; m0 < count; m0 += SLICE) {
                TILE_ROWS(rows, SLICE, 64, rowsM, m0, 0, C, H * C, count)
                barrier();
                mma(x, T(rows), Tile(F.at + m0 * F.stride, F.stride, false), SLICE);
                barrier();
            }
            if (tiny != 0) {
                accLay(x, F)
                barrier();
                addTiny(token, v0);
            }
            accScaleRows(x, 0);
            accLay(x, F)
            barrier();
            TILE_SAVE(F, 64, 64, rowsX, r, c, r * H * V + v0 + c, (r < count ? int(V) - int(v0 + c) : 0))
            TIMES(madeV, rowsV)
            if (WRITERS > 1) TIMES(madeW, rowsW)
        }
        TILE_ROWS(F, 64, 64, rowsE, 0, v0, V, H * V, count)
        TIMES(readV, rowsV)
        if (WRITERS > 1) TIMES(readW, rowsW)
#endif
    }

    SAVE_SCORES(readV, 0, 0, args.scale)
    if (lane < count) atF(args.diagonal, token).v[lane * H] = args.scale * tileGetFloat(lane * (FLOATS + 1));
    if (WRITERS > 1) {
        barrier();
        SAVE_SCORES(readW, 0, 1, args.scale)
        if (lane < count) atF(args.diagonal, uint64_t(args.tokens) * H + token).v[lane * H] = args.scale * tileGetFloat(lane * (FLOATS + 1));
    }
    if (MADE) {
        barrier();
        SAVE_SCORES(madeV, 1, 0, args.sign)
        if (wantsBeta && lane < count) {
            atF(args.dBeta, token).v[lane * H] = abs(beta) < LEAST ? tileVector[64 + lane] : tileGetFloat(lane * (FLOATS + 1)) / beta / beta;
        }
        if (WRITERS > 1) {
            barrier();
            SAVE_SCORES(madeW, 1, 1, args.sign)
        }
    }
}
