// STATE+: walks the chunks of a sequence with a 64 x 64 tile of the state S [K, V] in accumulators, and stores S at each chunk.
//   S <- diag(e^{G_C}) S + scale sum over s of (f_s * a_s) b_s^T
//   forward: f_s = e^{G_C - G_s}, a, b = k, v: states[c] is the state entering chunk c
//   reverse: f_s = e^{G_s},       a, b = q, do: states[c] is the gradient of the state leaving chunk c
//   IS_GATED: f_s a_s is given as a, and only the last G of a chunk is read (with VECTOR)
//   SECOND (with it): a2 and b2 are added as a and b are
// G is the cumulative log decay inside the chunk, plus the head's constant one times (s + 1); G_C its value at the last token there is.
// a, a2 [tokens, H, K]; b, b2 [tokens, H, V]; gate fp32 [tokens, H], with VECTOR [tokens, H, K], or null;
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
    TBuf a; TBuf b; TBuf a2; TBuf b2; F32Buf gate; F32Buf gamma; F32Buf initial; F32Buf final; F32Buf states; I32Buf packed;
    uint N; uint T; uint C; uint H; uint K; uint V; float scale; float decayKind;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // chunk_tiles.glsl
layout(constant_id = 10) const bool VECTOR = false;
layout(constant_id = 11) const uint FLAGS = 0;
layout(constant_id = 12) const bool FULL = false;          // widths are multiples of 64

const uint REVERSE = 1, INITIAL_T = 2, STATES_F32 = 4, FINAL_T = 8, NO_GATE = 16;
const bool GATES_ROWS = (FLAGS & 32) == 0;                 // IS_GATED is 32
const bool SECOND = (FLAGS & 64) != 0;

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
#define TILE_SOLID FULL
// Cooperative matrices take a chunk in two halves, whose tiles' place also serves to carry the state to memory in whole rows, or elements of accumulators: the
// less shared memory, the more workgroups live on a multiprocessor.
#ifdef MM_coopmat
#define ROWS 32
#define STORED ((FLAGS & STATES_F32) == 0 && ALIGNED)
#define TILE_SCRATCH 0
#define TILE_QUADS (2 * tileQuads(ROWS, 64) > 2 * TILE_SCRATCH_OCTS ? 2 * tileQuads(ROWS, 64) : 2 * TILE_SCRATCH_OCTS)
#else
#define ROWS SLICE
#define STORED false
#define TILE_QUADS (2 * tileQuads(ROWS, 64))
#endif
#define TILE_VECTOR 128
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"

uint K = args.K, V = args.V, H = args.H;
uint tilesV = (V + 63) / 64;
uint k0 = gl_WorkGroupID.x / tilesV * 64, v0 = gl_WorkGroupID.x % tilesV * 64;
uint head = gl_WorkGroupID.y;
const bool reverse = (FLAGS & REVERSE) != 0, GATED = (FLAGS & NO_GATE) == 0;
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

// An invocation's own gate of a chunk: G of token `lane`, the last one's repeated; with VECTOR G of channel `lane` at the last token. (Every load has an
// address of its own in each lane: a CPU driver was seen to do a load with a common one in a loop that has ended.)
float laneGate(Step step, uint lane) {
    uint r = min(lane, step.count - 1);
    if (VECTOR) return atF(args.gate, step.token * K).v[(step.count - 1) * H * K + min(k0 + lane, K - 1)];
    return headGate * float(r + 1) + (GATED ? atF(args.gate, step.token).v[r * H] : 0.0);
}

// The state goes to memory, if a chunk begins with it, and fades. tileVector: with VECTOR the decay of the state's rows and its logarithm, else G of the
// chunk's tokens.
#define ENTER(step, gate, isThere) { \
    uint64_t at = (uint64_t(first + step.index) * H + head) * K * V; \
    F32Buf wide = atF(args.states, at); \
    TBuf narrow = atT(TBuf(uint64_t(args.states)), at); \
    if ((FLAGS & STATES_F32) != 0) { \
        ACC_EACH(S, r, c, x, storeTail4F(wide, (k0 + r) * V + v0 + c, isThere && k0 + r < K ? int(V) - int(v0 + c) : 0, x);) \
    } else { \
        if (STORED) { \
            accLay(S, stored) \
        } else { \
            ACC_STORE(S, narrow, r, c, (k0 + r) * V + v0 + c, (isThere && k0 + r < K ? int(V) - int(v0 + c) : 0), x, x) \
        } \
    } \
    STORE_LAID(narrow, isThere) \
    if (lane < 64) { \
        tileVector[lane] = VECTOR ? (isThere ? exp(gate) : 1.0) : gate; \
        if (VECTOR) tileVector[64 + lane] = gate; \
    } \
    barrier(); \
    if (VECTOR) { \
        accScaleRows(S, 0); \
    } else { \
        accScale(S, (isThere ? exp(tileVector[63]) : 1.0)); \
    } }

#ifdef MM_coopmat
// An invocation's octs of the next chunk, all in one column of octs. They are read before the products of a chunk and land after them, in one turn of the loop
// and without a branch between: NVIDIA's compiler copies what crosses a join of branches or the end of a loop as soon as it is defined, and the copy
// waits for the load.
const uint OCTS = 512 / gl_WorkGroupSize.x;
#define FETCH(step) \
    uvec4 nextA[OCTS]; uvec4 nextB[OCTS]; uvec4 nextA2[OCTS]; uvec4 nextB2[OCTS]; vec4 nextGates[2 * OCTS]; \
    TBuf rowsA = atT(args.a, step.token * K), rowsB = atT(args.b, step.token * V); \
    TBuf rowsA2 = atT(SECOND ? args.a2 : args.a, step.token * K), rowsB2 = atT(SECOND ? args.b2 : args.b, step.token * V); \
    F32Buf gates = atF(args.gate, step.token * K); \
    uint column = lane % 8 * 8; \
    [[unroll]] for (uint j = 0; j < OCTS; j++) { \
        uint r = lane / 8 + j * (gl_WorkGroupSize.x / 8); \
        nextA[j] = nextOct(rowsA, r, k0 + column, K, H * K, step.count); \
        nextB[j] = nextOct(rowsB, r, v0 + column, V, H * V, step.count); \
        if (SECOND) nextA2[j] = nextOct(rowsA2, r, k0 + column, K, H * K, step.count); \
        if (SECOND) nextB2[j] = nextOct(rowsB2, r, v0 + column, V, H * V, step.count); \
        if (VECTOR && GATES_ROWS) { \
            nextGates[2 * j] = nextQuadF(gates, r, k0 + column, K, H * K, step.count); \
            nextGates[2 * j + 1] = nextQuadF(gates, r, k0 + column + 4, K, H * K, step.count); \
        } \
    } \
    float nextGate = laneGate(step, lane);

vec4 lastGates(uint c) { return vec4(tileVector[64 + c], tileVector[65 + c], tileVector[66 + c], tileVector[67 + c]); }

// Half h of the chunk, nothing for no tokens.
#define LAND(h, nextA, nextB, count) \
    [[unroll]] for (uint i = 0; i < OCTS / 2; i++) { \
        uint j = h * (OCTS / 2) + i, r = lane / 8 + j * (gl_WorkGroupSize.x / 8), q = (r - h * ROWS) * (tileStride(64) / 2) + lane % 8; \
        vec4 low = VECTOR ? factor(nextGates[2 * j], lastGates(column)) : factor(vec4(tileVector[r]), vec4(tileVector[63])); \
        vec4 high = VECTOR ? factor(nextGates[2 * j + 1], lastGates(column + 4)) : low; \
        uvec4 oct = r < count ? landedOct(nextA[j], r, k0 + column, K, count) : uvec4(0); \
        tilePool[a.at / 2 + q] = GATES_ROWS ? uvec4(tilePack(unpack4(oct.xy) * low), tilePack(unpack4(oct.zw) * high)) : oct; \
        tilePool[b.at / 2 + q] = landedOct(nextB[j], r, v0 + column, V, count); \
    }

#define STORE_LAID(narrow, isThere) \
    barrier(); \
    if (STORED) [[unroll]] for (uint j = 0; j < OCTS; j++) { \
        uint r = lane / 8 + j * (gl_WorkGroupSize.x / 8), c = lane % 8 * 8; \
        uvec4 oct = tilePool[(r * stored.stride + c / 4) / 2]; \
        storeOct(narrow, (k0 + r) * V + v0 + c, isThere && k0 + r < K ? int(V) - int(v0 + c) : 0, oct.xy, oct.zw); \
    }
#else
#define STORE_LAID(narrow, isThere)
#endif

void main() {
    uint n = gl_WorkGroupID.z, lane = gl_LocalInvocationIndex;
    Span sequence = sequenceSpan(args.packed, n, args.T);
    uint chunks = (sequence.count + args.C - 1) / args.C;
    uint first = firstChunk(args.packed, args.N, n, args.T, args.C);
    uint64_t corner = (uint64_t(n) * H + head) * K * V;
    Tile a = Tile(0, tileStride(64), false), b = Tile(tileQuads(ROWS, 64), tileStride(64), false);
    Tile stored = Tile(0, tileStride(64), false);

    Acc S;
    accZero(S);
    if (!isNull(args.initial)) ACC_SET(S, r, c, loadState(corner, r, c))

#ifdef MM_coopmat
    barrier();
    for (uint i = lane; i < tileQuads(ROWS, 64); i += gl_WorkGroupSize.x) tilePool[i] = uvec4(0);
    barrier();
    // A chunk is read while the second half of the one before is multiplied; the last turn has no chunk of its own.
    [[dont_unroll]] for (uint i = 0; i <= chunks && chunks > 0; i++) {
        bool isThere = i < chunks;
        Step step = stepAt(sequence, chunks, min(i, chunks - 1));
        uint count = isThere ? step.count : 0;
        FETCH(step)
        mma(S, T(a), b, ROWS);
        barrier();
        ENTER(step, nextGate, isThere)
        LAND(0, nextA, nextB, count)
        barrier();
        mma(S, T(a), b, ROWS);
        barrier();
        LAND(1, nextA, nextB, count)
        barrier();
        if (SECOND) {
            mma(S, T(a), b, ROWS);
            barrier();
            LAND(0, nextA2, nextB2, count)
            barrier();
            mma(S, T(a), b, ROWS);
            barrier();
            LAND(1, nextA2, nextB2, count)
            barrier();
        }
    }
#else
    [[dont_unroll]] for (uint i = 0; i < chunks; i++) {
        Step step = stepAt(sequence, chunks, i);
        float gate = lane < 64 ? laneGate(step, lane) : 0.0;
        ENTER(step, gate, true)
        TBuf rowsA = atT(args.a, step.token * K), rowsB = atT(args.b, step.token * V);
        F32Buf gates = atF(args.gate, step.token * K);
        [[dont_unroll]] for (uint s0 = 0; s0 < step.count; s0 += SLICE) {
            if (!GATES_ROWS) {
                TILE_ROWS(a, SLICE, 64, rowsA, s0, k0, K, H * K, step.count)
            } else if (VECTOR) {
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
            if (SECOND) {
                TILE_ROWS(a, SLICE, 64, atT(args.a2, step.token * K), s0, k0, K, H * K, step.count)
                TILE_ROWS(b, SLICE, 64, atT(args.b2, step.token * V), s0, v0, V, H * V, step.count)
                barrier();
                mma(S, T(a), b, SLICE);
                barrier();
            }
        }
    }
#endif
    if (!isNull(args.final)) ACC_EACH(S, r, c, x, storeFinal(corner, r, c, x);)
}
