#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// y[r] = Σ x[r · groups + g] over g < groups, in fp32; rows of `width` elements.
layout(push_constant, scalar) uniform Args {
    AnyBuf x;
    AnyBuf y;
    uint rows;
    uint groups;
    uint width;
    uint type;
    uint wide;
} args;

layout(local_size_x_id = 0) in;

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint pieces = (args.width + 3) / 4;
    uint64_t item = uint64_t(group) * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    if (item >= uint64_t(args.rows) * pieces) return;
    uint64_t row = item / pieces;
    uint i = uint(item % pieces) * 4;
    vec4 sum = vec4(0);
    for (uint g = 0; g < args.groups; ++g) {
        sum += rowAny(atAny(args.x, args.type, (row * args.groups + g) * args.width), args.type, i, args.width, args.wide != 0);
    }
    storeRowAny(atAny(args.y, args.type, row * args.width), args.type, i, args.width, args.wide != 0, sum);
}
