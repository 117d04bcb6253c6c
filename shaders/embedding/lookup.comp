#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// y[r] = scale · table[index[r]], table [entries, width], y [rows, width]; an index outside the table gives zeros.
layout(push_constant, scalar) uniform Args {
    TBuf table;
    AnyBuf index;
    TBuf y;
    uint rows;
    uint entries;
    uint width;
    uint indexType;
    uint wide;
    float scale;
} args;

layout(local_size_x_id = 0) in;

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint pieces = (args.width + 3) / 4;
    uint64_t item = uint64_t(group) * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    if (item >= uint64_t(args.rows) * pieces) return;
    uint row = uint(item / pieces);
    uint i = uint(item % pieces) * 4;
    int at = loadIndex(args.index, args.indexType, row);
    vec4 x = vec4(0);
    if (at >= 0 && uint(at) < args.entries) x = args.scale * rowT(atT(args.table, uint64_t(at) * args.width), i, args.width, args.wide != 0);
    storeRowT(atT(args.y, uint64_t(row) * args.width), i, args.width, args.wide != 0, x);
}
