#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// dtable[e] = Σ dy[order[j]] over j in [start[e], start[e + 1]) in a fixed order, in fp32; dy [rows, width], dtable [entries, width].
// A workgroup has ENTRIES entries and 32 lanes of 4 columns. An entry with few rows is summed by one line of lanes; one with many by all lines, which take
// its rows in turn and then add up.
layout(push_constant, scalar) uniform Args {
    AnyBuf dy;
    U32Buf start;
    U32Buf order;
    AnyBuf dtable;
    uint entries;
    uint width;
    uint type;
    uint tableType;
    uint wide;
} args;

layout(local_size_x_id = 0) in;

const uint LANES = 32, ENTRIES = 8, MANY = 24;
shared vec4 parts[ENTRIES * LANES];

vec4 sum(uint from, uint to, uint by, uint column) {
    vec4 s = vec4(0);
    if (column >= args.width) return s;
    for (uint j = from; j < to; j += by) {
        s += rowAny(atAny(args.dy, args.type, uint64_t(args.order.v[j]) * args.width), args.type, column, args.width, args.wide != 0);
    }
    return s;
}

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint columnGroups = (args.width + 4 * LANES - 1) / (4 * LANES);
    uint firstEntry = group / columnGroups * ENTRIES;
    if (firstEntry >= args.entries) return;
    uint line = gl_LocalInvocationIndex / LANES;
    uint column = (group % columnGroups * LANES + gl_LocalInvocationIndex % LANES) * 4;
    uint mine = firstEntry + line;
    if (mine < args.entries) {
        uint from = args.start.v[mine], to = args.start.v[mine + 1];
        vec4 s = to - from < MANY ? sum(from, to, 1, column) : vec4(0);
        if (to - from < MANY && column < args.width) {
            storeRowAny(atAny(args.dtable, args.tableType, uint64_t(mine) * args.width), args.tableType, column, args.width, args.wide != 0, s);
        }
    }
    for (uint e = firstEntry; e < min(firstEntry + ENTRIES, args.entries); ++e) {
        uint from = args.start.v[e], to = args.start.v[e + 1];
        if (to - from < MANY) continue;
        barrier();
        parts[gl_LocalInvocationIndex] = sum(from + line, to, ENTRIES, column);
        barrier();
        if (line == 0 && column < args.width) {
            vec4 s = vec4(0);
            for (uint k = 0; k < ENTRIES; ++k) s += parts[k * LANES + gl_LocalInvocationIndex];
            storeRowAny(atAny(args.dtable, args.tableType, uint64_t(e) * args.width), args.tableType, column, args.width, args.wide != 0, s);
        }
    }
}
