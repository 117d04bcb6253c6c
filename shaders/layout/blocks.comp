#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// y[r · yStride + yStart + g · width + i] = x[r · xStride + xStart + i] for r < rows, g < copies, i < width: columns of matrices side by side
// (copies 1), or rows repeated. Strides, starts and widths in elements.
layout(push_constant, scalar) uniform Args {
    TBuf x;
    TBuf y;
    uint rows;
    uint width;
    uint copies;
    uint xStride;
    uint yStride;
    uint xStart;
    uint yStart;
    uint wide;
} args;

layout(local_size_x_id = 0) in;

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint pieces = (args.width + 3) / 4;
    uint64_t item = uint64_t(group) * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    if (item >= uint64_t(args.rows) * pieces) return;
    uint row = uint(item / pieces);
    uint i = uint(item % pieces) * 4;
    vec4 x = rowT(atT(args.x, uint64_t(row) * args.xStride + args.xStart), i, args.width, args.wide != 0);
    for (uint g = 0; g < args.copies; ++g) {
        storeRowT(atT(args.y, uint64_t(row) * args.yStride + args.yStart + uint64_t(g) * args.width), i, args.width, args.wide != 0, x);
    }
}
