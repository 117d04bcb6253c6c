#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
// Copies a block of bytes between matrices: y[r, yStart + i] = x[r, xStart + i] for r < rows and i < pieces, zeros without x. All but rows count pieces of
// `unit` bytes: 16, 8, 4 or 2.
layout(push_constant, scalar) uniform Args {
    U32Buf x;
    U32Buf y;
    uint rows;
    uint pieces;
    uint xStride;
    uint yStride;
    uint xStart;
    uint yStart;
    uint unit;
} args;

layout(local_size_x_id = 0) in;

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint64_t item = uint64_t(group) * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    if (item >= uint64_t(args.rows) * args.pieces) return;
    uint64_t row = item / args.pieces, i = item % args.pieces;
    uint64_t x = uint64_t(args.x) + (row * args.xStride + args.xStart + i) * args.unit;
    uint64_t y = uint64_t(args.y) + (row * args.yStride + args.yStart + i) * args.unit;
    uvec4 bytes = uvec4(0);
    if (!isNull(args.x)) {
        if (args.unit == 16) bytes = U32x4Buf(x).v;
        else if (args.unit == 8) bytes.xy = U16x4Buf(x).v;
        else if (args.unit == 4) bytes.x = U32Buf(x).v[0];
        else bytes.x = uint(U16Buf(x).v[0]);
    }
    if (args.unit == 16) U32x4Buf(y).v = bytes;
    else if (args.unit == 8) U16x4Buf(y).v = bytes.xy;
    else if (args.unit == 4) U32Buf(y).v[0] = bytes.x;
    else U16Buf(y).v[0] = uint16_t(bytes.x);
}
