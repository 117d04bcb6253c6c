// Gradients of the products of a chunk's tokens (chunk_scores.comp), which chunk_gradients.comp takes on to rows of keys: with e the gradients of what readers
// give and v the values of writers,
//   A_rs = e_r . v_s for s < r, zero elsewhere; diagonal_r = e_r . v_r        times `scale`
// MADE: also of a second reader, of the corrections V~ = M beta (..) (delta_state.comp). Its e is beta X, X = M^T times the gradient of V~, times `sign`, and with a
// beta is kept, as the gradient of v. dbeta = X . (V~ / beta); of a beta that is next to nothing V~ / beta is found anew, as v - (e^{Ga} a) h - (stril
// scores) V~, Ga = G_r or with `exclusive` G_{r-1}.
// e, v, w, X, dv, values [tokens, H, V]; beta, dBeta fp32 [tokens, H] or null; A [readers x writers, tokens, H, C]; diagonal fp32
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
    TBuf e; TBuf v; TBuf w; TBuf X; F32Buf beta; TBuf A; F32Buf diagonal; TBuf dv; F32Buf dBeta;
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
#else
#define TILE_QUADS (tileQuads(64, 64) + tileQuads(64, SLICE))
#define FLOATS 64
#endif
#define TILE_VECTOR 384
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
// Of the whole product into the pool, in fp32.
#define SPREAD(acc) accSpread(acc, 0)
// Rows of X, which lie in F, times beta to memory.
#define SAVE_SCALED(p) TILE_TO(F, 64, 64, r, c, \
    uvec4 scaledOct = tileScaled(tileO, tileVector[r]); \
    storeOct(p, r * H * V + v0 + c, DENSE && FULL ? 8 : r < count ? int(V) - int(v0 + c) : 0, scaledOct.xy, scaledOct.zw);)
#define SAVE(acc, p, factor) TILE_EACH_RUN(64, 64, j, r, c, \
    vec4 low = factor * strictLower(r, c, tileFloats(0, r, c)); \
    vec4 high = factor * strictLower(r, c + 4, tileFloats(0, r, c + 4)); \
    if (DENSE || r < count && c < C) storeOct(p, r * H * C + c, DENSE ? 8 : int(C) - int(c), tilePack(low), tilePack(high));)
#else
Tile columns = Tile(tileQuads(64, 64), tileStride(SLICE), false);
// acc += F times the transpose of the rows of an array.
#define TIMES(acc, p) \
    [[dont_unroll]] for (uint s0 = 0; s0 < 64; s0 += SLICE) { \
        TILE_ROWS(columns, 64, SLICE, p, 0, v0 + s0, V, H * V, count) \
        barrier(); \
        mma(acc, Tile(F.at + s0 / 4, F.stride, false), T(columns), SLICE); \
        barrier(); \
    }
#define SPREAD(acc) ACC_EACH(acc, r, c, x, tilePool[r * 16 + c / 4] = x;)
#define SAVE_SCALED(p) TILE_TO(F, 64, 64, r, c, storeTail4T(p, r * H * V + v0 + c, r < count ? int(V) - int(v0 + c) : 0, tileVector[r] * tileGet(F, r, c));)
#define SAVE(acc, p, factor) ACC_EACH(acc, r, c, x, if (r < count && c < C) storeTail4T(p, r * H * C + c, int(C) - int(c), factor * strictLower(r, c, x));)
#endif

// The products of reader i and writer j, times a factor of row r; with it the diagonal stays in the pool until the next barrier.
#define SAVE_SCORES(acc, i, j, factor) { \
    TBuf scores = atT(args.A, (uint64_t((i) * WRITERS + (j)) * args.tokens * H + token) * C); \
    SPREAD(acc) \
    barrier(); \
    SAVE(acc, scores, (factor)) }

// For rows of a tiny beta, whose X lies in F: 64 columns' share of dbeta.
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
        tileVector[128 + lane] = rest;
        barrier();
        if (lane == 0) {
            float sum = 0;
            for (uint i = 0; i < gl_WorkGroupSize.x; i++) sum += tileVector[128 + i];
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
    TBuf rowsX = atT(MADE ? args.X : args.e, token * V), rowsD = atT(MADE ? args.dv : args.e, token * V);
    bool hasBeta = MADE && !isNull(args.beta);

#ifdef MM_coopmat
    uvec4 nextE[RUNS]; uvec4 nextX[RUNS]; uvec4 nextV[RUNS]; uvec4 nextW[RUNS];
    if (MADE) FETCH(nextX, rowsX, 0)
    else FETCH(nextE, rowsE, 0)
    if (WRITERS > 1) FETCH(nextW, rowsW, 0)
    else FETCH(nextV, rowsV, 0)
#endif
    float beta = 1;
    if (MADE) {
        if (lane < 64 && hasBeta) beta = atF(args.beta, token).v[min(lane, count - 1) * H];
        if (lane == 0) tiny = 0;
        barrier();
        if (lane < 64) {
            tileVector[lane] = beta;
            tileVector[64 + lane] = 0;
            if (lane < count && abs(beta) < LEAST) tiny = 1;
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
            LAND(F, nextX, v0)
            if (WRITERS > 1) LAND(B, nextW, v0)
            else LAND(B, nextV, v0)
            barrier();
            FETCH(nextE, rowsE, v0)
            if (WRITERS > 1) FETCH(nextV, rowsV, v0)
            if (tiny != 0) addTiny(token, v0);
            if (hasBeta) SAVE_SCALED(rowsD)
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
            if (s + 1 < SLICES) FETCH(nextX, rowsX, v0 + 64)
            if (s + 1 < SLICES && WRITERS == 1) FETCH(nextV, rowsV, v0 + 64)
            mma(readV, F, T(B), 64);
            barrier();
            if (WRITERS > 1) {
                LAND(B, nextW, v0)
                if (s + 1 < SLICES) FETCH(nextW, rowsW, v0 + 64)
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
            TILE_ROWS(F, 64, 64, rowsX, 0, v0, V, H * V, count)
            barrier();
            if (tiny != 0) addTiny(token, v0);
            if (hasBeta) SAVE_SCALED(rowsD)
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
        SAVE_SCORES(madeV, 1, 0, args.sign * tileVector[r])
        if (hasBeta && lane < count) {
            atF(args.dBeta, token).v[lane * H] = abs(beta) < LEAST ? tileVector[64 + lane] : tileGetFloat(lane * (FLOATS + 1)) / beta;
        }
        if (WRITERS > 1) {
            barrier();
            SAVE_SCORES(madeW, 1, 1, args.sign * tileVector[r])
        }
    }
}
