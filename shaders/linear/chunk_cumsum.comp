// CUM: cumulative sum along time inside each segment of rows, column by column, in fp32.
//   term[t, c] = sum over parts of x[part, t, c] (times xWeight[t, c]) - z[part, t, c] (times zWeight[t, c])
//   y[t, c] = start[segment, c] + sum of term[i, c] over i <= t of the segment (reverse: i >= t; exclusive: i != t)
//   total[segment, c] = start + the whole sum
// A segment is a chunk of C tokens, or a whole sequence (perSequence). Columns are heads, or heads times channels.
// Any of xWeight, z, zWeight, start, y, total may be null.
// @variants T=f32|f16|bf16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/sequences.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf x; F32Buf xWeight; TBuf z; F32Buf zWeight; F32Buf start; F32Buf y; F32Buf total; I32Buf packed;
    uint sequences; uint T; uint C; uint columns; uint segments; uint parts; uint rows; uint flags;
} args;

layout(local_size_x_id = 0) in;

const uint REVERSE = 1, EXCLUSIVE = 2, PER_SEQUENCE = 4;

float term(uint64_t i) {
    float sum = 0;
    for (uint p = 0; p < args.parts; p++) {
        uint64_t at = i + uint64_t(p) * args.rows * args.columns;
        float x = loadT(atT(args.x, at), 0);
        sum += isNull(args.xWeight) ? x : x * atF(args.xWeight, i).v[0];
        if (!isNull(args.z)) {
            float z = loadT(atT(args.z, at), 0);
            sum -= isNull(args.zWeight) ? z : z * atF(args.zWeight, i).v[0];
        }
    }
    return sum;
}

void main() {
    uint tiles = (args.columns + gl_WorkGroupSize.x - 1) / gl_WorkGroupSize.x;
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint segment = group / tiles;
    uint column = (group % tiles) * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    if (segment >= args.segments || column >= args.columns) return;

    Span tokens = (args.flags & PER_SEQUENCE) != 0
        ? sequenceSpan(args.packed, segment, args.T)
        : chunkAt(args.packed, args.sequences, segment, args.T, args.C).tokens;
    bool reverse = (args.flags & REVERSE) != 0;
    bool exclusive = (args.flags & EXCLUSIVE) != 0;
    uint64_t corner = uint64_t(segment) * args.columns + column;
    float sum = isNull(args.start) ? 0.0 : atF(args.start, corner).v[0];
    for (uint i = 0; i < tokens.count; i++) {
        uint row = tokens.first + (reverse ? tokens.count - 1 - i : i);
        uint64_t at = uint64_t(row) * args.columns + column;
        float before = sum;
        sum += term(at);
        if (!isNull(args.y)) atF(args.y, at).v[0] = exclusive ? before : sum;
    }
    if (!isNull(args.total)) atF(args.total, corner).v[0] = sum;
}
