// STATE+ forward under decays of heads (chunk_state.comp), where all chunks and tiles are whole and few workgroups walk, for chunk_out_fragments.comp: its accumulators are those of S^T, whose components lie as
// those of right operands S do (ComputeDevice.HasMatrixChain), so they go to memory as they are, 16 bytes a lane, by way of no shared memory and no barrier.
//   states [chunks, H, K / FRAG, V / FRAG, lanes, 8], bits of T
// a, b = k, v; gate, gamma, initial and final as in chunk_state.comp; T a multiple of 128. One workgroup a sequence (z), head (y) and 64 x 64 tile of the state (x).
// @variants T=f16|bf16 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/decay.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf a; TBuf b; F32Buf gate; F32Buf gamma; F32Buf initial; F32Buf final; TBuf states;
    uint N; uint T; uint H; uint K; uint V; float decayKind;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const uint FLAGS = 0;

const uint INITIAL_T = 2, FINAL_T = 8, NO_GATE = 16;

#define TILE_WHOLE true
#define TILE_SOLID true
#define TILE_SCRATCH 0
#define TILE_QUADS (2 * tileQuads(64, 64) > 2 * TILE_SCRATCH_OCTS ? 2 * tileQuads(64, 64) : 2 * TILE_SCRATCH_OCTS)
#include "common/tile.glsl"

uint K = args.K, V = args.V, H = args.H, head = gl_WorkGroupID.y, lane = gl_LocalInvocationIndex;
uint k0 = gl_WorkGroupID.x / (V / 64) * 64, v0 = gl_WorkGroupID.x % (V / 64) * 64;
uint chunks = args.T / 64;
float headGate = headDecay(args.gamma, args.decayKind, gl_WorkGroupID.y);
const bool GATED = (FLAGS & NO_GATE) == 0;

// Four of the initial and the final state [K,V] (INITIAL_T, FINAL_T: [V,K]): columns k0 + c .. of row v0 + r of S^T.
vec4 loadState(uint64_t at, uint r, uint c) {
    uint v = v0 + r, k = k0 + c;
    if ((FLAGS & INITIAL_T) != 0) return load4F(atF(args.initial, at), v * K + k);
    vec4 x;
    [[unroll]] for (uint e = 0; e < 4; e++) x[e] = atF(args.initial, at).v[(k + e) * V + v];
    return x;
}

void storeFinal(uint64_t at, uint r, uint c, vec4 x) {
    uint v = v0 + r, k = k0 + c;
    if ((FLAGS & FINAL_T) != 0) store4F(atF(args.final, at), v * K + k, x);
    else [[unroll]] for (uint e = 0; e < 4; e++) atF(args.final, at).v[(k + e) * V + v] = x[e];
}

// An invocation's octs of a chunk, all in one column of octs, with their gates, and the gate of the chunk's last token: read two chunks ahead, into two sets of
// registers. NVIDIA's compiler copies what crosses the end of a loop where it is loaded, and so waits for it, unless the first value is no load (PIN); and it leaves
// no load behind the first use of another, so nothing but STEP looks at them.
const uint OCTS = 512 / gl_WorkGroupSize.x, PASS = gl_WorkGroupSize.x / 8;
#define SET(nextA, nextB, own) uvec4 nextA[OCTS], nextB[OCTS]; float own[OCTS + 1];
#define FETCH(nextA, nextB, own, i) { \
    uint chunk = min(i, chunks - 1); \
    [[unroll]] for (uint j = 0; j < OCTS; j++) { \
        nextA[j] = U32x4Buf(fromA + uint64_t(chunk * 64 + j * PASS) * (H * K * 2)).v; \
        nextB[j] = U32x4Buf(fromB + uint64_t(chunk * 64 + j * PASS) * (H * V * 2)).v; \
        own[j] = GATED ? F32Buf(fromGates + uint64_t(chunk * 64 + j * PASS) * (H * 4)).v[0] : 0.0; \
    } \
    own[OCTS] = GATED ? F32Buf(fromLast + uint64_t(chunk * 64) * (H * 4)).v[0] : 0.0; }
#define PIN(nextA, nextB, own) { \
    uint zero = args.N >> 31; \
    [[unroll]] for (uint j = 0; j < OCTS; j++) { nextA[j] |= uvec4(zero); nextB[j] |= uvec4(zero); } \
    [[unroll]] for (uint j = 0; j <= OCTS; j++) own[j] += float(zero); }

// Chunk i enters: the state goes to memory and fades, then takes the chunk's tokens in, each by what is left of it at the chunk's end. What the set held is replaced
// by the chunk after next.
#define STEP(nextA, nextB, own, i) { \
    ACC_FRAGMENTS(tileF) { \
        uint p = (k0 + accColumn(tileF % PER_N)) / FRAG_N, q = (v0 + accRow(tileF / PER_N)) / FRAG_M; \
        U32x4Buf(states + uint64_t(i) * H * (K * V * 2) + ((p * (V / FRAG_M) + q) * SUBGROUP + gl_SubgroupInvocationID) * 16).v = FRAGMENT_WORDS(S.f[tileF]); \
    } \
    accScale(S, exp(headGate * 64.0 + own[OCTS])) \
    [[unroll]] for (uint j = 0; j < OCTS; j++) { \
        uint at = (lane / 8 + j * PASS) * (tileStride(64) / 2) + lane % 8; \
        float left = exp(headGate * float(63 - lane / 8 - j * PASS) + (own[OCTS] - own[j])); \
        tilePool[at] = tileScaled(nextA[j], left); \
        tilePool[at + tileQuads(64, 64) / 2] = nextB[j]; \
    } \
    FETCH(nextA, nextB, own, i + 2) \
    barrier(); \
    mma(S, T(Tile(tileQuads(64, 64), tileStride(64), false)), Tile(0, tileStride(64), false), 64) \
    barrier(); }

void main() {
    uint64_t token = uint64_t(gl_WorkGroupID.z) * args.T * H + head;
    uint64_t corner = (uint64_t(gl_WorkGroupID.z) * H + head) * K * V;
    uint64_t states = uint64_t(args.states) + (uint64_t(gl_WorkGroupID.z) * chunks * H + head) * (K * V * 2);
    uint column = lane % 8 * 8, row = lane / 8 * H;
    uint64_t fromA = uint64_t(args.a) + ((token + row) * K + k0 + column) * 2ul, fromB = uint64_t(args.b) + ((token + row) * V + v0 + column) * 2ul;
    uint64_t fromGates = uint64_t(args.gate) + (token + row) * 4ul, fromLast = uint64_t(args.gate) + (token + 63 * H) * 4ul;

    Acc S;
    accZero(S);
    if (!isNull(args.initial)) ACC_SET(S, r, c, loadState(corner, r, c))
    barrier();
    SET(nextA, nextB, own)
    SET(nextA1, nextB1, own1)
    FETCH(nextA, nextB, own, 0)
    FETCH(nextA1, nextB1, own1, 1)
    PIN(nextA, nextB, own)
    PIN(nextA1, nextB1, own1)
    [[dont_unroll]] for (uint i = 0; i < chunks; i += 2) {
        STEP(nextA, nextB, own, i)
        STEP(nextA1, nextB1, own1, i + 1)
    }
    if (!isNull(args.final)) ACC_EACH(S, r, c, x, storeFinal(corner, r, c, x);)
}
