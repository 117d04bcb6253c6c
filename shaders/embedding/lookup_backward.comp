#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
// dtable[e] = scale · Σ dy[r] over the rows r with index[r] = e, in ascending order of r; dy [rows, width], dtable [entries, width].
// A workgroup has ENTRIES entries and as many columns as invocations: it scans the indices a stretch at a time, collects in order those that fall on its entries,
// and then each invocation adds up its column. No atomics, so the sums repeat bit by bit.
layout(push_constant, scalar) uniform Args {
    TBuf dy;
    AnyBuf index;
    AnyBuf dtable;
    uint rows;
    uint entries;
    uint width;
    uint indexType;
    uint tableType;
    float scale;
} args;

layout(local_size_x_id = 0) in;

const uint ENTRIES = 16, PER_INVOCATION = 8, STRETCH = 256 * PER_INVOCATION;
shared float sums[ENTRIES * 256];
shared uint matches[STRETCH];       // row within the stretch * ENTRIES + entry
shared uint counts[256];            // of each subgroup

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint columnGroups = (args.width + gl_WorkGroupSize.x - 1) / gl_WorkGroupSize.x;
    uint firstEntry = group / columnGroups * ENTRIES;
    if (firstEntry >= args.entries) return;
    uint me = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    uint column = group % columnGroups * gl_WorkGroupSize.x + me;
    for (uint e = 0; e < ENTRIES; ++e) sums[e * 256 + me] = 0;

    uint stretch = gl_WorkGroupSize.x * PER_INVOCATION;
    for (uint first = 0; first < args.rows; first += stretch) {
        uint mine[PER_INVOCATION];
        uint count = 0;
        for (uint k = 0; k < PER_INVOCATION; ++k) {
            uint row = first + me * PER_INVOCATION + k;
            uint entry = row < args.rows ? uint(loadIndex(args.index, args.indexType, row)) - firstEntry : ENTRIES;
            if (entry < ENTRIES && firstEntry + entry < args.entries) mine[count++] = (me * PER_INVOCATION + k) * ENTRIES + entry;
        }
        uint before = subgroupExclusiveAdd(count);
        uint total = subgroupAdd(count);
        barrier();
        if (gl_SubgroupInvocationID == 0) counts[gl_SubgroupID] = total;
        barrier();
        uint all = 0;
        for (uint s = 0; s < gl_NumSubgroups; ++s) {
            if (s == gl_SubgroupID) before += all;
            all += counts[s];
        }
        for (uint k = 0; k < count; ++k) matches[before + k] = mine[k];
        barrier();
        if (column < args.width) {
            TBuf dy = atT(args.dy, uint64_t(first) * args.width);
            for (uint m = 0; m < all; ++m) {
                uint match = matches[m];
                sums[match % ENTRIES * 256 + me] += loadT(atT(dy, uint64_t(match / ENTRIES) * args.width), column);
            }
        }
    }
    if (column >= args.width) return;
    for (uint e = 0; e < ENTRIES && firstEntry + e < args.entries; ++e) {
        storeAny(atAny(args.dtable, args.tableType, uint64_t(firstEntry + e) * args.width), args.tableType, column, args.scale * sums[e * 256 + me]);
    }
}
