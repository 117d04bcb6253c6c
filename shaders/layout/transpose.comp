#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
// y[m, j, i] = x[m, i, j]: matrices x [count, rows, columns] of elements of `unit` bytes (2, 4 or 8), a tile of 32 by 32 a workgroup.
layout(push_constant, scalar) uniform Args {
    U32Buf x;
    U32Buf y;
    uint count;
    uint rows;
    uint columns;
    uint unit;
} args;

layout(local_size_x_id = 0) in;

const uint TILE = 32;
shared uvec2 tile[TILE * (TILE + 1)];

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint down = (args.rows + TILE - 1) / TILE, across = (args.columns + TILE - 1) / TILE;
    uint column = group % across * TILE, row = group / across % down * TILE, m = group / across / down;
    if (m >= args.count) return;
    uint lane = gl_LocalInvocationIndex % TILE, lines = gl_WorkGroupSize.x / TILE;
    uint64_t matrix = uint64_t(m) * args.rows * args.columns;
    for (uint i = gl_LocalInvocationIndex / TILE; i < TILE; i += lines) {
        if (row + i >= args.rows || column + lane >= args.columns) continue;
        uint64_t at = uint64_t(args.x) + (matrix + uint64_t(row + i) * args.columns + column + lane) * args.unit;
        uvec2 element = uvec2(0);
        if (args.unit == 2) element.x = uint(U16Buf(at).v[0]);
        else if (args.unit == 4) element.x = U32Buf(at).v[0];
        else element = U16x4Buf(at).v;
        tile[i * (TILE + 1) + lane] = element;
    }
    barrier();
    for (uint j = gl_LocalInvocationIndex / TILE; j < TILE; j += lines) {
        if (column + j >= args.columns || row + lane >= args.rows) continue;
        uint64_t at = uint64_t(args.y) + (matrix + uint64_t(column + j) * args.rows + row + lane) * args.unit;
        uvec2 element = tile[lane * (TILE + 1) + j];
        if (args.unit == 2) U16Buf(at).v[0] = uint16_t(element.x);
        else if (args.unit == 4) U32Buf(at).v[0] = element.x;
        else U16x4Buf(at).v = element;
    }
}
