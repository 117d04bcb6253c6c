#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f16|bf16 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#include "common/dtype.glsl"
#pragma use_vulkan_memory_model     // which matrices want; glslang declares it by itself only for shaders that load some
// C = factor·S: sums that packed.comp left as fragments, as rows [m, n] of the storage type. One workgroup makes 64 × 64.
layout(push_constant, scalar) uniform Args {
    U32x4Buf sums;
    F32Buf factor;      // [1]
    TBuf c;
    uint m, n;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const uint OUT_ALIGNED = 8;         // rows of C begin at multiples of so many elements: 8, 4, or 1 for any

#define TILE_ALIGNED (OUT_ALIGNED >= 4)
#define TILE_QUADS 2
#include "common/tile.glsl"
#include "gemm/packed.glsl"

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x, columns = (args.n + 63) / 64;
    uint i = group / columns, j = group % columns;
    if (i * 64 >= args.m) return;
    float factor = args.factor.v[0];
    Acc acc;
    accZero(acc);
    if (accActive()) {
        U32x4Buf sums = atPacked(args.sums, sumsBlock(i, j, args.n) + sumsFragment(accRow(0) / FRAG_M, accColumn(0) / FRAG_N) + gl_SubgroupInvocationID);
        LOAD_SUMS(acc, sums)
    }
    TBuf c = atT(args.c, uint64_t(i) * 64 * args.n + j * 64);
    uint rows = args.m - i * 64, width = args.n - j * 64;
    ACC_STORE(acc, c, r, c0, r * args.n + c0, (r < rows ? int(width) - int(c0) : 0), x, (x * factor))
}
