#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_memory_scope_semantics : require
// Sorts row numbers by their index, equal ones in ascending order: order[start[e] .. start[e + 1]) are the rows r with index[r] = e < entries.
// A workgroup has ENTRIES entries. It scans all indices twice: first it counts those before its entries and those of each, then it collects the latter.
layout(push_constant, scalar) uniform Args {
    AnyBuf index;
    U32Buf start;       // [entries + 1]
    U32Buf order;       // [rows]
    uint rows;
    uint entries;
    uint indexType;
    int skip;           // an index whose rows are left out, negative for none
} args;

layout(local_size_x_id = 0) in;

const uint ENTRIES = 16, PER_INVOCATION = 8;
shared uint matches[256 * PER_INVOCATION];      // row within the stretch * ENTRIES + entry, ascending
shared uint counts[256];                        // of each subgroup
shared uint counted[ENTRIES + 1];               // rows before the workgroup's entries, rows of each

void count(uint place, uint n) { atomicAdd(counted[place], n, gl_ScopeWorkgroup, gl_StorageSemanticsNone, gl_SemanticsRelaxed); }

// The row's entry; past all when it has none.
uint entryOf(uint row) {
    if (row >= args.rows) return args.entries;
    int entry = loadIndex(args.index, args.indexType, row);
    return entry < 0 || entry == args.skip ? args.entries : min(uint(entry), args.entries);
}

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint firstEntry = group * ENTRIES;
    if (firstEntry >= args.entries) return;
    uint owned = min(ENTRIES, args.entries - firstEntry);
    uint me = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;

    if (me <= ENTRIES) counted[me] = 0;
    barrier();
    uint before = 0;
    for (uint row = me; row < args.rows; row += gl_WorkGroupSize.x) {
        uint entry = entryOf(row);
        if (entry < firstEntry) ++before;
        else if (entry - firstEntry < owned) count(1 + entry - firstEntry, 1);
    }
    count(0, before);
    barrier();
    uint next = counted[0];                     // where the entry of this invocation continues
    for (uint e = 0; e < min(me, owned); ++e) next += counted[1 + e];
    if (me < owned) args.start.v[firstEntry + me] = next;
    if (me == owned && firstEntry + owned == args.entries) args.start.v[args.entries] = next;

    uint stretch = gl_WorkGroupSize.x * PER_INVOCATION;
    for (uint first = 0; first < args.rows; first += stretch) {
        uint row = me * PER_INVOCATION;
        uint found = 0;
        for (uint k = 0; k < PER_INVOCATION; ++k) {
            uint entry = entryOf(first + row + k);
            if (entry >= firstEntry && entry - firstEntry < owned) ++found;
        }
        uint place = subgroupExclusiveAdd(found);
        uint total = subgroupAdd(found);
        if (gl_SubgroupInvocationID == 0) counts[gl_SubgroupID] = total;
        barrier();
        uint all = 0;
        for (uint s = 0; s < gl_NumSubgroups; ++s) {
            if (s == gl_SubgroupID) place += all;
            all += counts[s];
        }
        if (found > 0) {
            for (uint k = 0; k < PER_INVOCATION; ++k) {
                uint entry = entryOf(first + row + k);
                if (entry >= firstEntry && entry - firstEntry < owned) matches[place++] = (row + k) * ENTRIES + entry - firstEntry;
            }
        }
        barrier();
        if (me < owned) {
            for (uint m = 0; m < all; ++m) {
                if (matches[m] % ENTRIES == me) args.order.v[next++] = first + matches[m] / ENTRIES;
            }
        }
        barrier();
    }
}
