#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f16|bf16 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// Cross entropy of rows of logits as fragments, from the sums of packed_sums.comp: loss = lse - logit of the label; rows with the label `ignored` give 0, and a label
// outside [0, width) has no logit. For the gradients every row of the blocks gets its lse, NO_GRADIENT if it has none, and its label, -1 for none. A row a subgroup.
layout(push_constant, scalar) uniform Args {
    U32x4Buf logits;
    F32Buf sums;        // [64·blocks, pieces, 2]
    AnyBuf labels;      // [rows]
    F32Buf loss;        // [rows]
    F32Buf lse;         // [64·blocks]
    F32Buf target;      // [64·blocks]
    uint rows, width;
    uint pieces;
    uint labelType;
    int ignored;
} args;

layout(local_size_x_id = 0) in;

#define TILE_VECTOR 16
#define TILE_QUADS 2
#define TILE_BARE
#include "common/tile.glsl"
#include "gemm/packed.glsl"
#include "loss/packed.glsl"
#extension GL_KHR_shader_subgroup_arithmetic : require

const float LOWEST = -3.4028235e38;

void main() {
    for (uint i = gl_LocalInvocationIndex; i < FRAG_M; i += gl_WorkGroupSize.x) tileVector[i] = float(i);
    barrier();
    FragC rowOf, columnOf;
    coopMatLoad(rowOf, tileVector, 0, 0, gl_CooperativeMatrixLayoutColumnMajor);
    coopMatLoad(columnOf, tileVector, 0, 0, gl_CooperativeMatrixLayoutRowMajor);
    uint row = (gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x) * SUBGROUPS + gl_SubgroupID, lane = gl_SubgroupInvocationID;
    if (row >= (args.rows + 63) / 64 * 64) return;
    bool isRow = row < args.rows;
    int label = loadIndex(args.labels, args.labelType, min(row, args.rows - 1));
    bool counts = isRow && label != args.ignored, hasLabel = label >= 0 && uint(label) < args.width;
    uint at = hasLabel ? uint(label) : 0;
    uvec4 words = atPacked(args.logits, row / 64 * packedBlock(args.width) + at / FRAG_K * STEP_A + row % 64 / FRAG_M * SUBGROUP + lane).v;

    float top = LOWEST, sum = 0;
    for (uint i = lane; i < args.pieces; i += SUBGROUP) top = max(top, args.sums.v[(row * args.pieces + i) * 2]);
    top = subgroupMax(top);
    for (uint i = lane; i < args.pieces; i += SUBGROUP) sum += args.sums.v[(row * args.pieces + i) * 2 + 1] * exp(args.sums.v[(row * args.pieces + i) * 2] - top);
    float lse = top + log(subgroupAdd(sum));

    float logit = 0;
    vec4 low = LOW_OF_A(words), high = HIGH_OF_A(words);
    [[unroll]] for (uint e = 0; e < 8; e++) logit = rowOf[e] == float(row % FRAG_M) && columnOf[e] == float(at % FRAG_K) ? e < 4 ? low[e] : high[e - 4] : logit;
    logit = subgroupAdd(logit);
    if (lane != 0) return;
    if (isRow) args.loss.v[row] = counts ? lse - (hasLabel ? logit : 0.0) : 0.0;
    args.lse.v[row] = counts ? lse : NO_GRADIENT;
    args.target.v[row] = counts && hasLabel ? float(label) : -1.0;
}
