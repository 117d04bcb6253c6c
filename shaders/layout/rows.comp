#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// Copies rows of bytes by an index table: y[r] = x[index[r]] (gather) or y[index[r]] = x[r] (scatter, distinct indices), r < rows.
// A gather from outside the table gives zeros; a scatter to outside is dropped. Without an index: y[r] = x[r / repeat].
layout(push_constant, scalar) uniform Args {
    U32Buf x;
    AnyBuf index;
    U32Buf y;
    uint rows;
    uint entries;       // rows of the indexed tensor
    uint pieces;        // of a row
    uint unit;          // bytes of a piece: 16, 8, 4 or 2
    uint indexType;
    uint repeat;
    uint scatter;
} args;

layout(local_size_x_id = 0) in;

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint64_t item = uint64_t(group) * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    if (item >= uint64_t(args.rows) * args.pieces) return;
    uint row = uint(item / args.pieces);
    uint64_t piece = item % args.pieces;
    int other = isNull(args.index) ? int(row / args.repeat) : loadIndex(args.index, args.indexType, row);
    bool inside = other >= 0 && uint(other) < args.entries;
    if (args.scatter != 0 && !inside) return;
    uint64_t from = args.scatter != 0 ? item : uint64_t(uint(other)) * args.pieces + piece;
    uint64_t to = args.scatter != 0 ? uint64_t(uint(other)) * args.pieces + piece : item;
    uint64_t x = uint64_t(args.x) + from * args.unit, y = uint64_t(args.y) + to * args.unit;
    uvec4 bytes = uvec4(0);
    if (inside) {
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
