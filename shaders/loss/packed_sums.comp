#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f16|bf16 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#include "common/dtype.glsl"
// Of logits [rows, width] as fragments of a left operand (gemm/packed.comp): of each row and piece of the columns the largest logit and Σ e^(logit - largest).
// One workgroup takes one piece of a block of 64 rows, a subgroup a row of fragments; each component keeps its own sum, which need not know where it lies.
layout(push_constant, scalar) uniform Args {
    U32x4Buf logits;
    F32Buf sums;            // [64·blocks, pieces, 2]
    uint blocks, width;
    uint pieces;
    uint stepsPerPiece;     // fragments, of FRAG_K columns
} args;

layout(local_size_x_id = 0) in;

#define TILE_VECTOR 16
#define TILE_QUADS (2 * SUBGROUPS * FRAG_M * (FRAG_N / 4 + 1) * 2)
#define TILE_BARE
#include "common/tile.glsl"
#include "gemm/packed.glsl"

const float LOWEST = -3.4028235e38;
const uint AHEAD = TILE_CPU ? 1 : 8;        // fragments in flight

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x, block = group / args.pieces, piece = group % args.pieces;
    if (block >= args.blocks) return;
    for (uint i = gl_LocalInvocationIndex; i < FRAG_K; i += gl_WorkGroupSize.x) tileVector[i] = float(i);
    barrier();
    FragC column, top = FragC(LOWEST), sum = FragC(0.0);
    coopMatLoad(column, tileVector, 0, 0, gl_CooperativeMatrixLayoutRowMajor);

    uint first = piece * args.stepsPerPiece, end = min((args.width + FRAG_K - 1) / FRAG_K, first + args.stepsPerPiece);
    U32x4Buf logits = atPacked(args.logits, block * packedBlock(args.width) + gl_SubgroupID * SUBGROUP + gl_SubgroupInvocationID);
    [[dont_unroll]] for (uint s = first; s < end; s += AHEAD) {
        uvec4 words[AHEAD];
        [[unroll]] for (uint a = 0; a < AHEAD; a++) words[a] = atPacked(logits, min(s + a, end - 1) * STEP_A).v;
        vec4 low[AHEAD], high[AHEAD];
        [[unroll]] for (uint a = 0; a < AHEAD; a++) {
            float left = s + a < end ? float(args.width - (s + a) * FRAG_K) : 0.0;
            low[a] = LOW_OF_A(words[a]);
            high[a] = HIGH_OF_A(words[a]);
            [[unroll]] for (uint e = 0; e < 4; e++) {
                low[a][e] = column[e] < left ? low[a][e] : LOWEST;
                high[a][e] = column[e + 4] < left ? high[a][e] : LOWEST;
            }
        }
        [[unroll]] for (uint e = 0; e < 8; e++) {
            float most = top[e];
            [[unroll]] for (uint a = 0; a < AHEAD; a++) most = max(most, e < 4 ? low[a][e] : high[a][e - 4]);
            float total = sum[e] * exp(top[e] - most);
            [[unroll]] for (uint a = 0; a < AHEAD; a++) total += exp((e < 4 ? low[a][e] : high[a][e - 4]) - most);
            sum[e] = total;
            top[e] = most;
        }
    }

    // The columns of a row meet in the pool.
    uint at = gl_SubgroupID * 2 * FRAG_M * FRAG_STRIDE;
    coopMatStore(top, tilePool, at, FRAG_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
    coopMatStore(sum, tilePool, at + FRAG_M * FRAG_STRIDE, FRAG_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
    tileSync();
    for (uint r = gl_SubgroupInvocationID; r < FRAG_M; r += SUBGROUP) {
        vec4 most = vec4(LOWEST);
        [[unroll]] for (uint q = 0; q < FRAG_N / 4; q++) most = max(most, uintBitsToFloat(tilePool[at + r * FRAG_STRIDE + q]));
        float largest = max(max(most.x, most.y), max(most.z, most.w)), total = 0;
        [[unroll]] for (uint q = 0; q < FRAG_N / 4; q++) {
            total += dot(exp(uintBitsToFloat(tilePool[at + r * FRAG_STRIDE + q]) - largest), uintBitsToFloat(tilePool[at + (FRAG_M + r) * FRAG_STRIDE + q]));
        }
        uint place = ((block * 64 + gl_SubgroupID * FRAG_M + r) * args.pieces + piece) * 2;
        args.sums.v[place] = largest;
        args.sums.v[place + 1] = total;
    }
}
