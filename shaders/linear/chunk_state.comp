// STATE+: walks the chunks of a sequence with a 64 x 64 tile of the state S [K, V] in accumulators, and stores S at each chunk.
//   S <- diag(e^{G_C}) S + scale sum over s of (f_s * a_s) b_s^T
//   forward: f_s = e^{G_C - G_s}, a, b = k, v: states[c] is the state entering chunk c
//   reverse: f_s = e^{G_s},       a, b = q, do: states[c] is the gradient of the state leaving chunk c
// G is the cumulative log decay inside the chunk, plus the head's constant one times (s + 1); G_C its value at the last token there is.
// a [tokens, H, K]; b [tokens, H, V]; gate fp32 [tokens, H], with VECTOR [tokens, H, K], or null;
// initial, final fp32 [N, H, K, V] (INITIAL_T, FINAL_T: [N, H, V, K]) or null; states [chunks, H, K, V] in T or fp32.
// One workgroup a sequence (z), head (y) and tile of the state (x).
// @variants T=f32|f16|bf16 MM=plain|coopmat
// @exclude T=f32 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/decay.glsl"
#include "linear/sequences.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf a; TBuf b; F32Buf gate; F32Buf gamma; F32Buf initial; F32Buf final; F32Buf states; I32Buf packed;
    uint N; uint T; uint C; uint H; uint K; uint V; float scale; float decayKind;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // chunk_tiles.glsl
layout(constant_id = 10) const bool VECTOR = false;
layout(constant_id = 11) const uint FLAGS = 0;

const uint REVERSE = 1, INITIAL_T = 2, STATES_F32 = 4, FINAL_T = 8;

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
// Cooperative matrices take a chunk in one slice.
// Where there is room, one tile more carries a state of type T to memory in whole rows.
#ifdef MM_coopmat
#define ROWS 64
#define STORED ((FLAGS & STATES_F32) == 0 && ALIGNED && SLICE == 64 ? tileQuads(64, 64) : 0)
#else
#define ROWS SLICE
#define STORED 0
#endif
#define TILE_QUADS (2 * tileQuads(ROWS, 64) + STORED)
#define TILE_VECTOR 64
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"

uint K = args.K, V = args.V, H = args.H;
uint tilesV = (V + 63) / 64;
uint k0 = gl_WorkGroupID.x / tilesV * 64, v0 = gl_WorkGroupID.x % tilesV * 64;
uint head = gl_WorkGroupID.y;
const bool reverse = (FLAGS & REVERSE) != 0;
float headGate = headDecay(args.gamma, args.decayKind, gl_WorkGroupID.y);

vec4 loadState(uint64_t at, uint r, uint c) {
    uint k = k0 + r, v = v0 + c;
    if ((FLAGS & INITIAL_T) == 0) return loadTail4F(atF(args.initial, at), k * V + v, k < K ? int(V) - int(v) : 0);
    vec4 x = vec4(0);
    [[unroll]] for (uint e = 0; e < 4; e++) if (k < K && v + e < V) x[e] = atF(args.initial, at).v[(v + e) * K + k];
    return x;
}

void storeFinal(uint64_t at, uint r, uint c, vec4 x) {
    uint k = k0 + r, v = v0 + c;
    if (k >= K) return;
    if ((FLAGS & FINAL_T) == 0) storeTail4F(atF(args.final, at), k * V + v, int(V) - int(v), x);
    else [[unroll]] for (uint e = 0; e < 4; e++) if (v + e < V) atF(args.final, at).v[(v + e) * K + k] = x[e];
}

// What a row gathers on its way into (reverse: out of) the state, at cumulative decay g when the chunk's last is `last`.
vec4 factor(vec4 g, vec4 last) { return exp(reverse ? g : last - g) * args.scale; }

struct Step { uint index; uint count; uint64_t token; };

Step stepAt(Span sequence, uint chunks, uint i) {
    uint index = reverse ? chunks - 1 - i : i;
    return Step(index, min(args.C, sequence.count - index * args.C), uint64_t(sequence.first + index * args.C) * H + head);
}

// The lane's own gate of a chunk: G of token `lane`, the last one's repeated; with VECTOR G of channel `lane` at the last token. (Every load has an
// address of its own in each lane: a CPU driver was seen to do a load with a common one in a loop that has ended.)
float laneGate(Step step, uint lane) {
    uint r = min(lane, step.count - 1);
    if (VECTOR) return k0 + lane < K ? atF(args.gate, step.token * K).v[(step.count - 1) * H * K + k0 + lane] : 0.0;
    return headGate * float(r + 1) + (isNull(args.gate) ? 0.0 : atF(args.gate, step.token).v[r * H]);
}

#ifdef MM_coopmat
// An invocation's octs of the next chunk: read while the products of the one before run. They all lie in one column of octs.
const uint OCTS = 512 / gl_WorkGroupSize.x;
#define FETCH(step) { \
    TBuf rowsA = atT(args.a, step.token * K), rowsB = atT(args.b, step.token * V); \
    F32Buf gates = atF(args.gate, step.token * K); \
    uint c = lane % 8 * 8; \
    [[unroll]] for (uint j = 0; j < OCTS; j++) { \
        uint r = lane / 8 + j * (gl_WorkGroupSize.x / 8); \
        nextA[j] = nextOct(rowsA, r, k0 + c, K, H * K, step.count); \
        nextB[j] = nextOct(rowsB, r, v0 + c, V, H * V, step.count); \
        if (VECTOR) { \
            nextGates[2 * j] = nextQuadF(gates, r, k0 + c, K, H * K, step.count); \
            nextGates[2 * j + 1] = nextQuadF(gates, r, k0 + c + 4, K, H * K, step.count); \
        } \
    } \
    if (VECTOR) { \
        lastGates[0] = nextQuadF(gates, step.count - 1, k0 + c, K, H * K, step.count); \
        lastGates[1] = nextQuadF(gates, step.count - 1, k0 + c + 4, K, H * K, step.count); \
    } \
    nextGate = lane < 64 ? laneGate(step, lane) : 0.0; }
#else
#define FETCH(step) nextGate = lane < 64 ? laneGate(step, lane) : 0.0;
#endif

void main() {
    uint n = gl_WorkGroupID.z, lane = gl_LocalInvocationIndex;
    Span sequence = sequenceSpan(args.packed, n, args.T);
    uint chunks = (sequence.count + args.C - 1) / args.C;
    uint first = firstChunk(args.packed, args.N, n, args.T, args.C);
    uint64_t corner = (uint64_t(n) * H + head) * K * V;
    Tile a = Tile(0, tileStride(64), false), b = Tile(tileQuads(ROWS, 64), tileStride(64), false);
    Tile stored = Tile(2 * tileQuads(ROWS, 64), tileStride(64), false);
    float nextGate;
#ifdef MM_coopmat
    uvec4 nextA[OCTS]; uvec4 nextB[OCTS]; vec4 nextGates[2 * OCTS]; vec4 lastGates[2];
#endif

    Acc S;
    accZero(S);
    if (!isNull(args.initial)) ACC_SET(S, r, c, loadState(corner, r, c))

    if (chunks > 0) {
        Step begin = stepAt(sequence, chunks, 0);
        FETCH(begin)
    }
    [[dont_unroll]] for (uint i = 0; i < chunks; i++) {
        Step step = stepAt(sequence, chunks, i);
        // tileVector: with VECTOR the decay of the state's rows, else G of the chunk's tokens.
        if (lane < 64) tileVector[lane] = VECTOR ? exp(nextGate) : nextGate;
        uint64_t at = (uint64_t(first + step.index) * H + head) * K * V;
        F32Buf wide = atF(args.states, at);
        TBuf narrow = atT(TBuf(uint64_t(args.states)), at);
        if ((FLAGS & STATES_F32) != 0) {
            ACC_EACH(S, r, c, x, storeTail4F(wide, (k0 + r) * V + v0 + c, k0 + r < K ? int(V) - int(v0 + c) : 0, x);)
        } else {
            if (STORED > 0) {
                accLay(S, stored)
            } else {
                ACC_STORE(S, narrow, r, c, (k0 + r) * V + v0 + c, (k0 + r < K ? int(V) - int(v0 + c) : 0), x, x)
            }
        }
        barrier();
        if (VECTOR) {
            accScaleRows(S, 0);
        } else {
            accScale(S, exp(tileVector[63]));
        }
#ifdef MM_coopmat
        if (STORED > 0) [[unroll]] for (uint j = 0; j < OCTS; j++) {
            uint r = lane / 8 + j * (gl_WorkGroupSize.x / 8), c = lane % 8 * 8;
            uvec4 oct = tilePool[(stored.at + r * stored.stride + c / 4) / 2];
            storeOct(narrow, (k0 + r) * V + v0 + c, k0 + r < K ? int(V) - int(v0 + c) : 0, oct.xy, oct.zw);
        }
        [[unroll]] for (uint j = 0; j < OCTS; j++) {
            uint r = lane / 8 + j * (gl_WorkGroupSize.x / 8), q = r * (tileStride(64) / 2) + lane % 8;
            vec4 low = VECTOR ? factor(nextGates[2 * j], lastGates[0]) : factor(vec4(tileVector[r]), vec4(tileVector[63]));
            vec4 high = VECTOR ? factor(nextGates[2 * j + 1], lastGates[1]) : low;
            uvec4 oct = landedOct(nextA[j], r, k0 + lane % 8 * 8, K, step.count);
            tilePool[a.at / 2 + q] = uvec4(tilePack(unpack4(oct.xy) * low), tilePack(unpack4(oct.zw) * high));
            tilePool[b.at / 2 + q] = landedOct(nextB[j], r, v0 + lane % 8 * 8, V, step.count);
        }
        barrier();
        if (i + 1 < chunks) {
            Step next = stepAt(sequence, chunks, i + 1);
            FETCH(next)
        }
        mma(S, T(a), b, 64);
#else
        TBuf rowsA = atT(args.a, step.token * K), rowsB = atT(args.b, step.token * V);
        F32Buf gates = atF(args.gate, step.token * K);
        [[dont_unroll]] for (uint s0 = 0; s0 < step.count; s0 += SLICE) {
            if (VECTOR) {
                TILE_STAGE(a, SLICE, 64, r, c, (s0 + r < step.count
                    ? widen(rowQuad(rowsA, s0 + r, k0 + c, K, H * K, step.count))
                        * factor(rowQuadF(gates, s0 + r, k0 + c, K, H * K, step.count), rowQuadF(gates, step.count - 1, k0 + c, K, H * K, step.count))
                    : vec4(0)))
            } else {
                TILE_SCALED_ROWS(a, SLICE, 64, rowsA, s0, k0, K, H * K, step.count, r, factor(vec4(tileVector[s0 + r]), vec4(tileVector[63])).x)
            }
            TILE_ROWS(b, SLICE, 64, rowsB, s0, v0, V, H * V, step.count)
            barrier();
            mma(S, T(a), b, SLICE);
            barrier();
        }
        if (i + 1 < chunks) {
            Step next = stepAt(sequence, chunks, i + 1);
            FETCH(next)
        }
#endif
    }
    if (!isNull(args.final)) ACC_EACH(S, r, c, x, storeFinal(corner, r, c, x);)
}
