// STATE+ forward under decays of heads (chunk_state.comp), where all chunks and tiles are whole, for chunk_out_fragments.comp: its accumulators are those of S^T, whose components lie as
// those of right operands S do (ComputeDevice.HasMatrixChain), so they go to memory as they are, 16 bytes a lane, by way of no shared memory and no barrier.
//   states [chunks, H, K / FRAG, V / FRAG, lanes, 8], bits of T
// a, b = k, v; gate, gamma, initial and final as in chunk_state.comp. The walk is over an even number of chunks, first .. first + count - 1 of each sequence of T tokens; states has those alone.
// One workgroup a sequence (z), head (y) and 64 x 64 tile of the state (x).
// @variants T=f16|bf16 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/decay.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf a; TBuf b; F32Buf gate; F32Buf gamma; F32Buf initial; F32Buf final; TBuf states;
    uint N; uint T; uint first; uint count; uint H; float decayKind;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const uint FLAGS = 0;
layout(constant_id = 9) const uint STAGES = 1;             // a chunk enters in so many parts: the more, the less shared memory, so the more workgroups live together
layout(constant_id = 10) const uint K = 128;
layout(constant_id = 11) const uint V = 128;
layout(constant_id = 12) const bool HAS_INITIAL = true;    // rather than a look at the pointers: what is not there takes no registers
layout(constant_id = 13) const bool HAS_FINAL = true;

const uint INITIAL_T = 2, FINAL_T = 8, NO_GATE = 16;

#define TILE_WHOLE true
#define TILE_SOLID true
#define TILE_SCRATCH 0
#define QUADS_PART (2 * tileQuads(64, 64) / STAGES)
#define TILE_QUADS (QUADS_PART > 2 * TILE_SCRATCH_OCTS ? QUADS_PART : 2 * TILE_SCRATCH_OCTS)
#include "common/tile.glsl"

uint H = args.H, head = gl_WorkGroupID.y, lane = gl_LocalInvocationIndex;
uint k0 = gl_WorkGroupID.x / (V / 64) * 64, v0 = gl_WorkGroupID.x % (V / 64) * 64;
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
// no load behind the first use of another, so nothing but STEP looks at them. Three workgroups live on a processor if this takes no more than 80 registers.
const uint OCTS = 512 / gl_WorkGroupSize.x, PASS = gl_WorkGroupSize.x / 8, STRIDE = tileStride(64) / 2, TOKENS = 64 / STAGES, B_AT = TOKENS * STRIDE;
#define SET(nextA, nextB, own) uvec4 nextA[OCTS], nextB[OCTS]; float own[OCTS + 1];
#define FETCH(nextA, nextB, own, i) { \
    uint chunk = min(i, args.count - 1); \
    [[unroll]] for (uint j = 0; j < OCTS; j++) nextA[j] = U32x4Buf(fromA + chunk * stepA + j * PASS * rowA).v; \
    [[unroll]] for (uint j = 0; j < OCTS; j++) nextB[j] = U32x4Buf(fromB + chunk * stepB + j * PASS * rowB).v; \
    [[unroll]] for (uint j = 0; j < OCTS; j++) own[j] = GATED ? F32Buf(gates + (chunk * 64 + lane / 8 + j * PASS) * rowGates).v[0] : 0.0; \
    own[OCTS] = GATED ? F32Buf(gates + (chunk * 64 + 63) * rowGates).v[0] : 0.0; }
#define PIN(nextA, nextB, own) { \
    uint zero = args.N >> 31; \
    [[unroll]] for (uint j = 0; j < OCTS; j++) { nextA[j] |= uvec4(zero); nextB[j] |= uvec4(zero); } \
    if (GATED) [[unroll]] for (uint j = 0; j <= OCTS; j++) own[j] += float(zero); }

// Chunk i enters: the state goes to memory and fades, then takes the chunk's tokens in, each by what is left of it at the chunk's end. What the set held is replaced
// by the chunk after next. (Without a gate what is left would be constant: the compiler is not to know, as it would keep it in registers.)
#define STEP(nextA, nextB, own, i) { \
    ACC_FRAGMENTS(tileF) \
        U32x4Buf(to + uint64_t(i) * (H * K * V * 2) + (tileF % PER_N * (V / FRAG_M) + tileF / PER_N) * (SUBGROUP * 16)).v = FRAGMENT_WORDS(S.f[tileF]); \
    float unknown = GATED ? 0.0 : float(i >> 31); \
    accScale(S, exp(headGate * 64.0 + own[OCTS] + unknown)) \
    [[unroll]] for (uint h = 0; h < STAGES; h++) { \
        [[unroll]] for (uint j = h * OCTS / STAGES; j < (h + 1) * OCTS / STAGES; j++) { \
            uint r = lane / 8 + j * PASS, at = (r - h * TOKENS) * STRIDE + lane % 8; \
            tilePool[at] = tileScaled(nextA[j], exp(headGate * float(63 - r) + (own[OCTS] - own[j] + unknown))); \
            tilePool[B_AT + at] = nextB[j]; \
        } \
        if (h + 1 == STAGES) FETCH(nextA, nextB, own, i + 2) \
        barrier(); \
        mma(S, T(Tile(2 * B_AT, tileStride(64), false)), Tile(0, tileStride(64), false), TOKENS) \
        barrier(); \
    } }

void main() {
    uint64_t token = (uint64_t(gl_WorkGroupID.z) * args.T + args.first * 64) * H + head;
    uint64_t corner = (uint64_t(gl_WorkGroupID.z) * H + head) * K * V;
    uint rowA = H * K * 2, rowB = H * V * 2, rowGates = H * 4;
    uint64_t stepA = uint64_t(rowA) * 64, stepB = uint64_t(rowB) * 64;
    uint64_t fromA = uint64_t(args.a) + token * (K * 2) + lane / 8 * rowA + k0 * 2 + lane % 8 * 16;
    uint64_t fromB = uint64_t(args.b) + token * (V * 2) + lane / 8 * rowB + v0 * 2 + lane % 8 * 16;
    uint64_t gates = uint64_t(args.gate) + token * 4;
    uint64_t to = uint64_t(args.states) + (uint64_t(gl_WorkGroupID.z) * args.count * H + head) * (K * V * 2)
        + ((k0 + accColumn(0)) / FRAG_N * (V / FRAG_M) + (v0 + accRow(0)) / FRAG_M) * (SUBGROUP * 16) + gl_SubgroupInvocationID * 16;

    Acc S;
    accZero(S);
    if (HAS_INITIAL) ACC_SET(S, r, c, loadState(corner, r, c))
    barrier();
    SET(nextA, nextB, own)
    SET(nextA1, nextB1, own1)
    FETCH(nextA, nextB, own, 0)
    FETCH(nextA1, nextB1, own1, 1)
    PIN(nextA, nextB, own)
    PIN(nextA1, nextB1, own1)
    [[dont_unroll]] for (uint i = 0; i < args.count; i += 2) {
        STEP(nextA, nextB, own, i)
        STEP(nextA1, nextB1, own1, i + 1)
    }
    if (HAS_FINAL) ACC_EACH(S, r, c, x, storeFinal(corner, r, c, x);)
}
