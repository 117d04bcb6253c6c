#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f16|bf16 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#include "common/dtype.glsl"
// Gradients of cross entropy, e^(logit - lse) - [label], of logits [rows, width] as fragments of a left operand: in their place, and once more as fragments of the
// transpose [width, rows], each filled up with zeros as pack.comp does. So both products that follow read them as they lie. One workgroup makes 64 × 64.
layout(push_constant, scalar) uniform Args {
    U32x4Buf logits;
    U32x4Buf transposed;
    F32Buf lse;             // [64·blocks], NO_GRADIENT for a row without
    F32Buf target;          // [64·blocks], the label or -1
    uint rows, width;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool TRANSPOSED = true;       // the transpose is wanted

#define LSE 0
#define TARGET 64
#define NUMBERS 128
#define TILE_VECTOR 144
#define TILE_QUADS tileQuads(64, 64)
#define TILE_BARE
#include "common/tile.glsl"
#include "gemm/packed.glsl"
#include "loss/packed.glsl"

const uint STEPS = 64 / FRAG_K;

void main() {
    uint depth = packedDepth(args.width), tiles = (depth + 63) / 64;
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x, r0 = group / tiles * 64, c0 = group % tiles * 64;
    if (r0 >= packedDepth(args.rows)) return;
    bool hasRows = r0 < args.rows;
    uint step0 = c0 / FRAG_K, lastStep = (args.width - 1) / FRAG_K;
    U32x4Buf logits = atPacked(args.logits, (hasRows ? r0 / 64 : 0) * packedBlock(args.width) + gl_SubgroupID * SUBGROUP + gl_SubgroupInvocationID);
    uvec4 words[STEPS];
    [[unroll]] for (uint f = 0; f < STEPS; f++) words[f] = atPacked(logits, min(step0 + f, lastStep) * STEP_A).v;
    [[unroll]] for (uint i = gl_LocalInvocationIndex; i < tileTrip(64); i += gl_WorkGroupSize.x) {
        tileVector[LSE + i] = hasRows ? args.lse.v[r0 + i] : NO_GRADIENT;
        tileVector[TARGET + i] = hasRows ? args.target.v[r0 + i] - float(c0) : -1.0;
    }
    for (uint i = gl_LocalInvocationIndex; i < FRAG_K; i += gl_WorkGroupSize.x) tileVector[NUMBERS + i] = float(i);
    barrier();

    FragC lse, target, column;
    coopMatLoad(lse, tileVector, LSE + gl_SubgroupID * FRAG_M, 0, gl_CooperativeMatrixLayoutColumnMajor);
    coopMatLoad(target, tileVector, TARGET + gl_SubgroupID * FRAG_M, 0, gl_CooperativeMatrixLayoutColumnMajor);
    coopMatLoad(column, tileVector, NUMBERS, 0, gl_CooperativeMatrixLayoutRowMajor);
    const uint stride = tileStride(64) >> 1;
    [[unroll]] for (uint f = 0; f < STEPS; f++) {
        float left = float(int(args.width) - int(c0 + f * FRAG_K));
        vec4 low = LOW_OF_A(words[f]), high = HIGH_OF_A(words[f]);
        float d[8];
        [[unroll]] for (uint e = 0; e < 8; e++) {
            float g = exp((e < 4 ? low[e] : high[e - 4]) - lse[e]) - (column[e] + float(f * FRAG_K) == target[e] ? 1.0 : 0.0);
            d[e] = column[e] < left && lse[e] != NO_GRADIENT ? g : 0.0;
        }
        words[f] = WORDS_OF_A(d);
        if (hasRows && c0 + f * FRAG_K < depth) atPacked(logits, (step0 + f) * STEP_A).v = words[f];
        if (TRANSPOSED) {
            FragA a;
            SET_A(a, words[f])
            coopMatStore(a, tilePool, gl_SubgroupID * FRAG_M * stride + f * FRAG_K / 8, stride, gl_CooperativeMatrixLayoutRowMajor);
        }
    }
    if (!TRANSPOSED || c0 >= args.width) return;
    barrier();
    U32x4Buf transposed = atPacked(args.transposed, c0 / 64 * packedBlock(args.rows) + r0 / FRAG_K * STEP_A + gl_SubgroupID * SUBGROUP + gl_SubgroupInvocationID);
    [[unroll]] for (uint f = 0; f < STEPS; f++) {
        if (r0 + f * FRAG_K >= packedDepth(args.rows)) break;
        FragA a;
        coopMatLoad(a, tilePool, f * FRAG_K * stride + gl_SubgroupID * FRAG_M / 8, stride, gl_CooperativeMatrixLayoutColumnMajor);
        atPacked(transposed, f * STEP_A).v = wordsOf(a).xzyw;
    }
}
