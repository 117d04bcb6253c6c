// STATE-delta: walks the chunks of a sequence with 64 columns of the state S [K, V] in K / 64 accumulators, and stores S at each chunk.
//   out = base + f * (x S);   S <- e^{G_C} S + (f' * y)^T out + (f'' * z)^T w
//   forward: states[c] enters chunk c.  delta rule: f = sign = -1, x = W, base = U, f' = e^{G_C - G}, y = k, no z; out = V~
//     generalized: f = sign = 1, y = b e^{G_C - G}, z = k e^{G_C - G}, w = v, f' = f'' = 1
//   REVERSE: states[c] is the gradient of the state leaving chunk c.  f = e^{G_C - G}, x = k (b), base = A^T do, y = W, f' = sign, z = q, w = do,
//     f'' = scale e^G; out = dV~
// With a gate of channels the e^G factors are expected in y and z (in reverse x and z), and S decays by rows.
// x, y, z [tokens, H, K]; base, w, out [tokens, H, V]; gate: cumulative log decay in the chunk, fp32 [tokens, H] or [tokens, H, K] by GATE;
// initial, final fp32 [N, H, K, V] (INITIAL_T, FINAL_T: [N, H, V, K]) or null; states [chunks, H, K, V].
// One workgroup a tile of 64 columns (x), head (y) and sequence (z).
// @variants T=f32|f16|bf16 MM=plain|coopmat
// @exclude T=f32 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/sequences.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf x; TBuf base; TBuf y; TBuf z; TBuf w; F32Buf gate; F32Buf initial; F32Buf final; TBuf states; TBuf o; I32Buf packed;
    uint N; uint T; uint C; uint H; uint K; uint V; float sign; float scale;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // chunk_tiles.glsl
layout(constant_id = 10) const uint STATES = 1;            // ceil(K / 64)
layout(constant_id = 11) const uint GATE = 0;
layout(constant_id = 12) const uint FLAGS = 0;

const uint REVERSE = 1, INITIAL_T = 2, FINAL_T = 4;
const bool HAS_SECOND = (FLAGS & 8) != 0;                  // z and w are given

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
// Cooperative matrices take a tile in one slice.
#ifdef MM_coopmat
#define ROWS 64
#else
#define ROWS SLICE
#endif
// Either ROWS columns of x and ROWS rows of S; or out (w) and ROWS rows of y (z).
#define QUADS_READ (tileQuads(64, ROWS) + tileQuads(ROWS, 64))
#define QUADS_WRITE (tileQuads(64, 64) + tileQuads(ROWS, 64))
#define TILE_QUADS (QUADS_READ > QUADS_WRITE ? QUADS_READ : QUADS_WRITE)
#define TILE_VECTOR (256 + 64 * STATES)
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "delta/gates.glsl"
#include "delta/save.glsl"

uint K = args.K, V = args.V, H = args.H, head = gl_WorkGroupID.y, v0 = gl_WorkGroupID.x * 64;
const bool reverse = (FLAGS & REVERSE) != 0;

vec4 loadState(uint64_t at, uint k, uint v) {
    if ((FLAGS & INITIAL_T) == 0) return loadTail4F(atF(args.initial, at), k * V + v, k < K ? int(V) - int(v) : 0);
    vec4 s = vec4(0);
    [[unroll]] for (uint e = 0; e < 4; e++) if (k < K && v + e < V) s[e] = atF(args.initial, at).v[(v + e) * K + k];
    return s;
}

void storeState(uint64_t at, uint k, uint v, vec4 s) {
    if (k >= K) return;
    if ((FLAGS & FINAL_T) == 0) storeTail4F(atF(args.final, at), k * V + v, int(V) - int(v), s);
    else [[unroll]] for (uint e = 0; e < 4; e++) if (v + e < V) atF(args.final, at).v[(v + e) * K + k] = s[e];
}

struct Step { uint index; uint count; uint64_t token; };

Step stepAt(Span sequence, uint chunks, uint i) {
    uint index = reverse ? chunks - 1 - i : i;
    return Step(index, min(args.C, sequence.count - index * args.C), uint64_t(sequence.first + index * args.C) * H + head);
}

// What an invocation holds of the next chunk, read while the products of the one before run: with heads G of token `lane`, with channels the decays of its
// rows of the state.
const uint DECAYS = (64 * STATES + gl_WorkGroupSize.x - 1) / gl_WorkGroupSize.x;
#define FETCH_GATES(step) { \
    if (GATE == HEADS) nextGate = atF(args.gate, step.token).v[min(lane % 64, step.count - 1) * H]; \
    if (GATE == CHANNELS) { \
        [[unroll]] for (uint d = 0; d < DECAYS; d++) { \
            nextDecay[d] = atF(args.gate, step.token * K).v[(step.count - 1) * H * K + min(lane + d * gl_WorkGroupSize.x, K - 1)]; \
        } \
    } }

// Cooperative matrices: and its octs of each tile.
#ifdef MM_coopmat
const uint RUNS = TILE_RUNS(64, 64);
#define FETCH_KEYS(octs, p, step) { \
    TBuf rows = atT(p, step.token * K); \
    [[unroll]] for (uint t = 0; t < STATES; t++) TILE_FETCH(octs, t * RUNS, 64, 64, rows, 0, t * 64, K, H * K, step.count) }
#define FETCH_VALUES(octs, p, step) TILE_FETCH(octs, 0, 64, 64, atT(p, step.token * V), 0, v0, V, H * V, step.count)
#define STAGE_X(t, p) TILE_LAND(x, 64, 64, nextX, (t) * RUNS, 0, (t) * 64, K, step.count)
#define STAGE_Y(t, s0) TILE_LAND_SCALED(keys, 64, 64, nextY, (t) * RUNS, 0, (t) * 64, K, step.count, r, tileVector[128 + r])
#define STAGE_Z(t, s0) TILE_LAND_SCALED(keys, 64, 64, nextZ, (t) * RUNS, 0, (t) * 64, K, step.count, r, tileVector[192 + r])
#define STAGE_W TILE_LAND(values, 64, 64, nextW, 0, 0, v0, V, step.count)
#define STAGE_BASE TILE_LAND(values, 64, 64, nextBase, 0, 0, v0, V, step.count) barrier();
#define BASE(r, c) tileGet(values, r, c)
#else
#define FETCH_KEYS(octs, p, step)
#define FETCH_VALUES(octs, p, step)
#define STAGE_X(t, p) TILE_ROWS(x, 64, ROWS, atT(args.x, step.token * K), 0, (t) * 64 + (p), K, H * K, step.count)
#define STAGE_Y(t, s0) TILE_SCALED_ROWS(keys, ROWS, 64, atT(args.y, step.token * K), s0, (t) * 64, K, H * K, step.count, r, tileVector[128 + (s0) + r])
#define STAGE_Z(t, s0) TILE_SCALED_ROWS(keys, ROWS, 64, atT(args.z, step.token * K), s0, (t) * 64, K, H * K, step.count, r, tileVector[192 + (s0) + r])
#define STAGE_W TILE_ROWS(values, 64, 64, atT(args.w, step.token * V), 0, v0, V, H * V, step.count)
#define STAGE_BASE
#define BASE(r, c) widen(rowQuad(atT(args.base, step.token * V), r, v0 + c, V, H * V, step.count))
#endif

void main() {
    uint n = gl_WorkGroupID.z, lane = gl_LocalInvocationIndex;
    Span sequence = sequenceSpan(args.packed, n, args.T);
    uint chunks = (sequence.count + args.C - 1) / args.C;
    uint first = firstChunk(args.packed, args.N, n, args.T, args.C);
    uint64_t corner = (uint64_t(n) * H + head) * K * V;
    Tile x = Tile(0, tileStride(ROWS), false), part = Tile(tileQuads(64, ROWS), tileStride(64), false);
    Tile values = Tile(0, tileStride(64), false), keys = Tile(tileQuads(64, 64), tileStride(64), false);
    float nextGate, nextDecay[DECAYS];
#ifdef MM_coopmat
    TILE_AHEAD(nextX, STATES, 64, 64)
    TILE_AHEAD(nextY, STATES, 64, 64)
    TILE_AHEAD(nextZ, STATES, 64, 64)
    TILE_AHEAD(nextBase, 1, 64, 64)
    TILE_AHEAD(nextW, 1, 64, 64)
#endif

    Acc S[STATES];
    [[unroll]] for (uint t = 0; t < STATES; t++) {
        accZero(S[t]);
        if (!isNull(args.initial)) ACC_SET(S[t], r, c, loadState(corner, t * 64 + r, v0 + c))
    }
    if (chunks > 0) {
        Step begin = stepAt(sequence, chunks, 0);
        FETCH_GATES(begin)
        FETCH_KEYS(nextX, args.x, begin)
        FETCH_VALUES(nextBase, args.base, begin)
        FETCH_KEYS(nextY, args.y, begin)
        if (HAS_SECOND) {
            FETCH_KEYS(nextZ, args.z, begin)
            FETCH_VALUES(nextW, args.w, begin)
        }
    }
    [[dont_unroll]] for (uint i = 0; i < chunks; i++) {
        Step step = stepAt(sequence, chunks, i), next = stepAt(sequence, chunks, min(i + 1, chunks - 1));

        // tileVector: G of the tokens (heads), factors of rows of x S, y and z; from 256 on decays of the state's rows (channels).
        if (lane < 64) {
            if (GATE == HEADS) tileVector[lane] = nextGate;
            tileVector[64 + lane] = reverse ? 1.0 : args.sign;
            tileVector[128 + lane] = reverse ? args.sign : 1.0;
            tileVector[192 + lane] = args.scale;
        }
        if (GATE == CHANNELS) {
            [[unroll]] for (uint d = 0; d < DECAYS; d++) {
                uint c = lane + d * gl_WorkGroupSize.x;
                if (c < 64 * STATES) tileVector[256 + c] = exp(nextDecay[d]);
            }
        }
        FETCH_GATES(next)
        barrier();
        if (GATE == HEADS && lane < 64) {
            float g = tileVector[lane], last = tileVector[63];
            if (reverse) {
                tileVector[64 + lane] = exp(last - g);
                tileVector[192 + lane] = args.scale * exp(g);
            } else tileVector[128 + lane] = exp(last - g);
        }

        TBuf states = atT(args.states, (uint64_t(first + step.index) * H + head) * K * V);
        Acc acc;
        accZero(acc);
        [[unroll]] for (uint t = 0; t < STATES; t++) {
            [[dont_unroll]] for (uint p = 0; p < 64; p += ROWS) {
                STAGE_X(t, p)
                if (ROWS == 64) {
                    accLay(S[t], part)
                } else {
                    ACC_EACH(S[t], r, c, s, if (r / ROWS == p / ROWS) tilePut(part, r % ROWS, c, s);)
                }
                barrier();
                uint k0 = t * 64 + p;
                TILE_SAVE(part, ROWS, 64, states, r, c, (k0 + r) * V + v0 + c, (k0 + r < K ? int(V) - int(v0 + c) : 0))
                mma(acc, x, part, ROWS);
                barrier();
            }
        }
        FETCH_KEYS(nextX, args.x, next)
        STAGE_BASE
        FETCH_VALUES(nextBase, args.base, next)
        ACC_PUT(acc, values, r, c, s, BASE(r, c) + tileVector[64 + r] * s)
        [[unroll]] for (uint t = 0; t < STATES; t++) {
            if (GATE == CHANNELS) {
                accScaleRows(S[t], 256 + 64 * t);
            } else if (GATE == HEADS) {
                accScale(S[t], exp(tileVector[63]));
            }
            [[dont_unroll]] for (uint s0 = 0; s0 < 64; s0 += ROWS) {
                STAGE_Y(t, s0)
                barrier();
                mma(S[t], T(keys), Tile(values.at + s0 * values.stride, values.stride, false), ROWS);
                barrier();
            }
        }
        FETCH_KEYS(nextY, args.y, next)
        TBuf o = atT(args.o, step.token * V);
        TILE_SAVE(values, 64, 64, o, r, c, r * H * V + v0 + c, (r < step.count ? int(V) - int(v0 + c) : 0))
        barrier();
        if (HAS_SECOND) {
            STAGE_W
            FETCH_VALUES(nextW, args.w, next)
            [[unroll]] for (uint t = 0; t < STATES; t++) {
                [[dont_unroll]] for (uint s0 = 0; s0 < 64; s0 += ROWS) {
                    STAGE_Z(t, s0)
                    barrier();
                    mma(S[t], T(keys), Tile(values.at + s0 * values.stride, values.stride, false), ROWS);
                    barrier();
                }
            }
            FETCH_KEYS(nextZ, args.z, next)
        }
    }
    if (isNull(args.final)) return;
    [[unroll]] for (uint t = 0; t < STATES; t++) ACC_EACH(S[t], r, c, s, storeState(corner, t * 64 + r, v0 + c, s);)
}
