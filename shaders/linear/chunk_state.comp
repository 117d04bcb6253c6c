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
    uint N; uint T; uint C; uint H; uint K; uint V; uint flags; float scale; float decayKind;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // K and V are multiples of 4
layout(constant_id = 9) const bool VECTOR = false;

#define TILE_ALIGNED ALIGNED
#define TILE_QUADS (2 * tileQuads(32, 64))
#define TILE_VECTOR 64
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"

const uint REVERSE = 1, INITIAL_T = 2, STATES_F32 = 4, FINAL_T = 8;

uint K = args.K, V = args.V, H = args.H;
uint tilesV = (V + 63) / 64;
uint k0 = gl_WorkGroupID.x / tilesV * 64, v0 = gl_WorkGroupID.x % tilesV * 64;
uint head = gl_WorkGroupID.y;
bool reverse = (args.flags & REVERSE) != 0;
float headGate = headDecay(args.gamma, args.decayKind, gl_WorkGroupID.y);

vec4 loadState(uint64_t at, uint r, uint c) {
    uint k = k0 + r, v = v0 + c;
    if ((args.flags & INITIAL_T) == 0) return loadTail4F(atF(args.initial, at), k * V + v, k < K ? int(V) - int(v) : 0);
    vec4 x = vec4(0);
    for (uint e = 0; e < 4; e++) if (k < K && v + e < V) x[e] = atF(args.initial, at).v[(v + e) * K + k];
    return x;
}

void storeFinal(uint64_t at, uint r, uint c, vec4 x) {
    uint k = k0 + r, v = v0 + c;
    if (k >= K) return;
    if ((args.flags & FINAL_T) == 0) storeTail4F(atF(args.final, at), k * V + v, int(V) - int(v), x);
    else for (uint e = 0; e < 4; e++) if (v + e < V) atF(args.final, at).v[(v + e) * K + k] = x[e];
}

void storeState(uint chunk, uint r, uint c, vec4 x) {
    uint k = k0 + r, v = v0 + c;
    if (k >= K) return;
    uint64_t at = (uint64_t(chunk) * H + head) * K * V;
    if ((args.flags & STATES_F32) != 0) storeTail4F(atF(args.states, at), k * V + v, int(V) - int(v), x);
    else storeTail4T(atT(TBuf(uint64_t(args.states)), at), k * V + v, int(V) - int(v), x);
}

// What a row gathers on its way into (reverse: out of) the state, at cumulative decay g when the chunk's last is `last`.
vec4 factor(vec4 g, vec4 last) { return exp(reverse ? g : last - g) * args.scale; }

void main() {
    uint n = gl_WorkGroupID.z, lane = gl_LocalInvocationIndex;
    Span sequence = sequenceSpan(args.packed, n, args.T);
    uint C = args.C, chunks = (sequence.count + C - 1) / C;
    uint first = firstChunk(args.packed, args.N, n, args.T, C);
    uint64_t corner = (uint64_t(n) * H + head) * K * V;
    Tile a = Tile(0, tileStride(64), false), b = Tile(tileQuads(32, 64), tileStride(64), false);

    Acc S;
    if (isNull(args.initial)) accZero(S);
    else ACC_SET(S, r, c, loadState(corner, r, c))

    [[dont_unroll]] for (uint i = 0; i < chunks; i++) {
        uint index = reverse ? chunks - 1 - i : i;
        uint start = sequence.first + index * C, count = min(C, sequence.count - index * C);
        ACC_EACH(S, r, c, x, storeState(first + index, r, c, x);)

        // tileVector: with VECTOR the decay of the state's rows, else G of the chunk's tokens, repeated after the last one. (Every load below has
        // an address of its own in each lane: a CPU driver was seen to do a load with a common one in a loop that has ended.)
        uint64_t token = uint64_t(start) * H + head;
        TBuf rowsA = atT(args.a, token * K), rowsB = atT(args.b, token * V);
        F32Buf gates = VECTOR ? atF(args.gate, token * K) : atF(args.gate, token);
        if (lane < 64) {
            uint r = min(lane, count - 1), k = k0 + lane;
            if (VECTOR) tileVector[lane] = k < K ? exp(gates.v[(count - 1) * H * K + k]) : 0.0;
            else tileVector[lane] = headGate * float(r + 1) + (isNull(args.gate) ? 0.0 : gates.v[r * H]);
        }
        barrier();
        if (VECTOR) accScaleRows(S, 0);
        else accScale(S, exp(tileVector[63]));
        [[dont_unroll]] for (uint s0 = 0; s0 < count; s0 += SLICE) {
            if (VECTOR) {
                TILE_STAGE(a, SLICE, 64, r, c, (s0 + r < count
                    ? widen(rowQuad(rowsA, s0 + r, k0 + c, K, H * K, count))
                        * factor(rowQuadF(gates, s0 + r, k0 + c, K, H * K, count), rowQuadF(gates, count - 1, k0 + c, K, H * K, count))
                    : vec4(0)))
            } else {
                TILE_STAGE(a, SLICE, 64, r, c, (s0 + r < count
                    ? widen(rowQuad(rowsA, s0 + r, k0 + c, K, H * K, count)) * factor(vec4(tileVector[s0 + r]), vec4(tileVector[63]))
                    : vec4(0)))
            }
            TILE_STAGE(b, SLICE, 64, r, c, rowQuad(rowsB, s0 + r, v0 + c, V, H * V, count))
            barrier();
            mma(S, T(a), b, SLICE);
            barrier();
        }
    }
    if (!isNull(args.final)) ACC_EACH(S, r, c, x, storeFinal(corner, r, c, x);)
}
