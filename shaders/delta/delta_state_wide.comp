// STATE-delta forward, with M (delta_state.comp), where what is erased is the key, all chunks and tiles are whole, and a workgroup has all channels of a chunk's keys at once:
//   V~ = M beta (v - e^G k S);   S <- e^{G_C} S + (e^{G_C - G} k)^T V~
// A subgroup has FRAG_M columns of the state, as accumulators of S^T. They are left operands of S^T k^T as they are, and what comes of it those of the products with M^T and k
// (ComputeDevice.HasMatrixChain), so subgroups share k and M and nothing else. What goes to memory or comes from there is turned block by block in a place of the subgroup's.
// k [tokens, H, K]; v, o (V~) [tokens, H, V]; M [tokens, H, 64]; beta fp32 [tokens, H] or null (1); gate, with GATED: cumulative log decay in the chunk, fp32 [tokens, H];
// initial, final fp32 [N, H, K, V] (INITIAL_T, FINAL_T: [N, H, V, K]) or null; states [chunks, H, K, V], those that enter.
// One workgroup as many columns as its subgroups have (x), head (y) and sequence (z) of T tokens; K is 64 TILES, a power of two.
// @variants T=f16|bf16 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf k; TBuf v; TBuf M; F32Buf beta; F32Buf gate; F32Buf initial; F32Buf final; TBuf states; TBuf o;
    uint T; uint H; uint K; uint V;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const uint TILES = 1;              // K / 64
layout(constant_id = 9) const uint FLAGS = 0;

const bool INITIAL_T = (FLAGS & 2) != 0, FINAL_T = (FLAGS & 4) != 0, GATED = (FLAGS & 8) != 0;

#define TILE_WHOLE true
#define TILE_SOLID true
#define TILE_BARE
#define TILE_QUADS (tileQuads(64, 64 * TILES) + tileQuads(64, 64) + SUBGROUPS * FRAG_M * FRAG_N / 4)
#define TILE_VECTOR 196
#include "common/tile.glsl"
#include "common/unroll.glsl"

uint K = args.K, V = args.V, H = args.H, head = gl_WorkGroupID.y, lane = gl_LocalInvocationIndex, own = gl_SubgroupInvocationID;
const uint ERASES = 0, STEPS = 64, WRITES = 128, LAST = 192;                                     // tileVector: factors of tokens, and of the state
const uint BLOCKS = 64 / FRAG_N, PARTS = 64 * TILES / FRAG_N;
const uint STRIDE = tileStride(64 * TILES) / 2, STRIDE_M = tileStride(64) / 2;                   // octs
const uint M_AT = 64 * STRIDE, PLACES = M_AT + 64 * STRIDE_M;
const uint OCTS_ROW = 8 * TILES, PASS = gl_WorkGroupSize.x / OCTS_ROW, OCTS = 64 / PASS, PASS_M = gl_WorkGroupSize.x / 8, OCTS_M = 64 / PASS_M;

// k, M and the scalars of a chunk (one token's an invocation): asked for while the products of the one before run, in the same turn as they land, and late in it: there
// registers are left.
#define FETCH(chunk) { \
    [[unroll]] for (uint j = 0; j < OCTS; j++) nextK[j] = U32x4Buf(fromK + uint64_t((chunk) * 64 + j * PASS) * (H * K * 2)).v; \
    [[unroll]] for (uint j = 0; j < OCTS_M; j++) nextM[j] = U32x4Buf(fromM + uint64_t((chunk) * 64 + j * PASS_M) * (H * 128)).v; \
    uint64_t at = token + uint64_t((chunk) * 64) * H; \
    nextStep = atF(isNull(args.beta) ? F32Buf(uint64_t(args.M)) : args.beta, at).v[lane % 64 * H]; \
    if (GATED) { \
        nextGate = atF(args.gate, at).v[lane % 64 * H]; \
        nextLast = atF(args.gate, at).v[63 * H + (lane >> 16)]; \
    } }
#define LAND { \
    [[unroll]] for (uint j = 0; j < OCTS; j++) tilePool[(lane / OCTS_ROW + j * PASS) * STRIDE + lane % OCTS_ROW] = nextK[j]; \
    [[unroll]] for (uint j = 0; j < OCTS_M; j++) tilePool[M_AT + (lane / 8 + j * PASS_M) * STRIDE_M + lane % 8] = nextM[j]; \
    if (lane < 64) { \
        tileVector[STEPS + lane] = isNull(args.beta) ? 1.0 : nextStep; \
        if (GATED) { \
            tileVector[ERASES + lane] = exp(nextGate); \
            tileVector[WRITES + lane] = exp(nextLast - nextGate); \
            if (lane == 0) tileVector[LAST] = exp(nextLast); \
        } \
    } }

void main() {
    uint chunks = args.T / 64, v0 = (gl_WorkGroupID.x * SUBGROUPS + gl_SubgroupID) * FRAG_M;
    uint64_t token = uint64_t(gl_WorkGroupID.z) * args.T * H + head;
    uint64_t corner = (uint64_t(gl_WorkGroupID.z) * H + head) * K * V;
    uint64_t fromK = uint64_t(args.k) + ((token + lane / OCTS_ROW * H) * K + lane % OCTS_ROW * 8) * 2ul;
    uint64_t fromM = uint64_t(args.M) + ((token + lane / 8 * H) * 64 + lane % 8 * 8) * 2ul;
    // An oct of a lane is a block of FRAG_N tokens by FRAG_M columns of a subgroup.
    uint64_t inBlock = ((token + own / (FRAG_M / 8) * H) * V + v0 + own % (FRAG_M / 8) * 8) * 2ul;
    uint64_t states = uint64_t(args.states) + (((uint64_t(gl_WorkGroupID.z) * chunks * H + head) * K + own / (FRAG_M / 8)) * V + v0 + own % (FRAG_M / 8) * 8) * 2ul;
    uint place = PLACES + gl_SubgroupID * (FRAG_M * FRAG_N / 8);
    // A product with one turns a right operand into accumulators.
    FragA one;
    vec4 low = vec4(own % (FRAG_M / 8) * 8) + vec4(0, 1, 2, 3), row = vec4(own / (FRAG_M / 8));
    tilePool[place + own] = uvec4(tilePack(vec4(equal(low, row))), tilePack(vec4(equal(low + 4, row))));
    tileSync();
    coopMatLoad(one, tilePool, place, FRAG_M / 8, gl_CooperativeMatrixLayoutRowMajor);
    tileSync();
    uvec4 nextK[OCTS], nextM[OCTS_M];
    float nextStep, nextGate, nextLast;

    FragC S[PARTS];
    EACH(p, PARTS, S[p] = FragC(0.0);)
    if (!isNull(args.initial)) EACH(p, PARTS,
        if (INITIAL_T) coopMatLoad(S[p], atF(args.initial, corner).v, v0 * K + p * FRAG_N, K, gl_CooperativeMatrixLayoutRowMajor);
        else coopMatLoad(S[p], atF(args.initial, corner).v, p * FRAG_N * V + v0, V, gl_CooperativeMatrixLayoutColumnMajor);)
    if (chunks > 0) {
        FETCH(0)
        LAND
    }
    barrier();
    [[dont_unroll]] for (uint i = 0; i < chunks; i++) {
        uint64_t rows = uint64_t(i * 64) * (H * V * 2) + inBlock;
        uvec4 values[BLOCKS];
        [[unroll]] for (uint n = 0; n < BLOCKS; n++) values[n] = U32x4Buf(uint64_t(args.v) + rows + uint64_t(n * FRAG_N) * (H * V * 2)).v;

        FragC sums[BLOCKS];
        [[unroll]] for (uint n = 0; n < BLOCKS; n++) sums[n] = FragC(0.0);
        EACH(p, PARTS,
            uvec4 words = FRAGMENT_WORDS(S[p]);
            FragA left;
            FRAGMENT_OF(left, words)
            FragB turned;
            FRAGMENT_OF(turned, words)
            FragC state = coopMatMulAdd(one, turned, FragC(0.0));
            FragHalf bits;
            [[unroll]] for (uint e = 0; e < 8; e++) bits[e] = TILE_HALF(state[e]);
            coopMatStore(bits, tilePool, place, FRAG_M / 8, gl_CooperativeMatrixLayoutRowMajor);
            tileSync();
            U32x4Buf(states + (uint64_t(i) * H * K + p * FRAG_N) * V * 2ul).v = tilePool[place + own];
            tileSync();
            [[unroll]] for (uint n = 0; n < BLOCKS; n++) {
                FragB right;
                coopMatLoad(right, tilePool, n * FRAG_N * STRIDE + p * (FRAG_N / 8), STRIDE, gl_CooperativeMatrixLayoutColumnMajor);
                sums[n] = coopMatMulAdd(left, right, sums[n]);
            })
        FragA left[BLOCKS];
        [[unroll]] for (uint n = 0; n < BLOCKS; n++) {
            tilePool[place + own] = values[n];
            tileSync();
            FragA value;
            coopMatLoad(value, tilePool, place, FRAG_M / 8, gl_CooperativeMatrixLayoutColumnMajor);
            tileSync();
            FragC factors;
            if (GATED) {
                coopMatLoad(factors, tileVector, ERASES + n * FRAG_N, 0, gl_CooperativeMatrixLayoutRowMajor);
                sums[n] = sums[n] * factors;
            }
            coopMatLoad(factors, tileVector, STEPS + n * FRAG_N, 0, gl_CooperativeMatrixLayoutRowMajor);
            [[unroll]] for (uint e = 0; e < 8; e++) left[n][e] = TILE_OPERAND(factors[e] * (float(value[e]) - sums[n][e]));
        }
        [[unroll]] for (uint n = 0; n < BLOCKS; n++) sums[n] = FragC(0.0);
        EACH(n, BLOCKS,
            [[unroll]] for (uint m = 0; m < BLOCKS; m++) if (m <= n) {
                FragB right;
                coopMatLoad(right, tilePool, M_AT + n * FRAG_N * STRIDE_M + m * (FRAG_N / 8), STRIDE_M, gl_CooperativeMatrixLayoutColumnMajor);
                sums[n] = coopMatMulAdd(left[m], right, sums[n]);
            })
        [[unroll]] for (uint n = 0; n < BLOCKS; n++) {
            FragHalf bits;
            [[unroll]] for (uint e = 0; e < 8; e++) bits[e] = TILE_HALF(sums[n][e]);
            coopMatStore(bits, tilePool, place, FRAG_M / 8, gl_CooperativeMatrixLayoutColumnMajor);
            tileSync();
            U32x4Buf(uint64_t(args.o) + rows + uint64_t(n * FRAG_N) * (H * V * 2)).v = tilePool[place + own];
            tileSync();
            if (GATED) {
                FragC factors;
                coopMatLoad(factors, tileVector, WRITES + n * FRAG_N, 0, gl_CooperativeMatrixLayoutRowMajor);
                sums[n] = sums[n] * factors;
            }
            [[unroll]] for (uint e = 0; e < 8; e++) left[n][e] = TILE_OPERAND(sums[n][e]);
        }
        FETCH(min(i + 1, chunks - 1))
        float last = GATED ? tileVector[LAST] : 1.0;
        EACH(p, PARTS,
            if (GATED) S[p] = S[p] * last;
            [[unroll]] for (uint n = 0; n < BLOCKS; n++) {
                FragB right;
                coopMatLoad(right, tilePool, n * FRAG_N * STRIDE + p * (FRAG_N / 8), STRIDE, gl_CooperativeMatrixLayoutRowMajor);
                S[p] = coopMatMulAdd(left[n], right, S[p]);
            })
        barrier();
        LAND
        barrier();
    }
    if (!isNull(args.final)) EACH(p, PARTS,
        if (FINAL_T) coopMatStore(S[p], atF(args.final, corner).v, v0 * K + p * FRAG_N, K, gl_CooperativeMatrixLayoutRowMajor);
        else coopMatStore(S[p], atF(args.final, corner).v, p * FRAG_N * V + v0, V, gl_CooperativeMatrixLayoutColumnMajor);)
}
