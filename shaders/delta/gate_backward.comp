// The end of a backward under a gate of channels: gradients of rows are rounded to the storage type, and the gate's are summed up,
//   dg_t = last + sum over r >= t in the chunk of (x1 dx1 - y1 dy1 - y2 dy2 [- x2 dx2 if not EXCLUSIVE, with +])_r + sum over r > t of (x2 dx2)_r if EXCLUSIVE
// where x1, x2 are rows that read the state (queries; what is erased) and y1, y2 rows that write to it. last: the state leaving the chunk times its gradient.
// With inter, the part of dy1 that goes through that state is given apart from the rest: last is then the state entering the chunk times that gradient, and
// e^{G_C} last + sum over the chunk of y1 inter takes its place. That is the same number, but made of the very products that the sum takes away again:
// what storage in 16 bits does to states cancels, where else it would move dg of all the chunk's tokens together.
// With SAME x2 is y1, and one gradient, dx2 + dy1, is written to y1's place.
// x, y and their rounded gradients [tokens, H, K]; sums of gradients fp32 [tokens, H, K]; last fp32 [chunks, H, K]; dg fp32 [tokens, H, K] or null.
// One invocation a channel of a chunk.
// @variants T=f32|f16|bf16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/sequences.glsl"

layout(buffer_reference, scalar, buffer_reference_align = 8) buffer Args {
    TBuf x1; TBuf x2; TBuf y1; TBuf y2; F32Buf sum1; F32Buf sum2; F32Buf sum3; F32Buf sum4; TBuf dx1; TBuf dx2; TBuf dy1; TBuf dy2;
    F32Buf last; F32Buf dg; F32Buf gate; F32Buf inter; I32Buf packed;
    uint N; uint T; uint C; uint columns; uint chunks;
};
layout(push_constant, scalar) uniform Arguments { Args args; };

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool EXCLUSIVE = false;
layout(constant_id = 2) const bool SAME = false;

void main() {
    uint tiles = (args.columns + gl_WorkGroupSize.x - 1) / gl_WorkGroupSize.x;
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x, index = group / tiles;
    uint column = group % tiles * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    if (index >= args.chunks || column >= args.columns) return;
    Chunk chunk = chunkAt(args.packed, args.N, index, args.T, args.C);
    if (chunk.sequence < 0) return;
    float sum = isNull(args.last) ? 0.0 : atF(args.last, uint64_t(index) * args.columns).v[column];
    if (!isNull(args.inter)) {
        sum *= exp(atF(args.gate, uint64_t(chunk.tokens.first + chunk.tokens.count - 1) * args.columns).v[column]);
        for (uint i = 0; i < chunk.tokens.count; i++) {
            uint64_t at = uint64_t(chunk.tokens.first + i) * args.columns + column;
            sum += loadT(atT(args.y1, at), 0) * atF(args.inter, at).v[0];
        }
    }
    for (uint i = 0; i < chunk.tokens.count; i++) {
        uint64_t at = uint64_t(chunk.tokens.first + chunk.tokens.count - 1 - i) * args.columns + column;
        float d1 = atF(args.sum1, at).v[0], d2 = atF(args.sum2, at).v[0], d3 = atF(args.sum3, at).v[0];
        if (!isNull(args.inter)) d3 += atF(args.inter, at).v[0];
        float erased = loadT(atT(args.x2, at), 0) * d2;
        sum += loadT(atT(args.x1, at), 0) * d1 - loadT(atT(args.y1, at), 0) * d3;
        storeT(atT(args.dx1, at), 0, d1);
        if (SAME) storeT(atT(args.dy1, at), 0, d2 + d3);
        else {
            storeT(atT(args.dx2, at), 0, d2);
            storeT(atT(args.dy1, at), 0, d3);
        }
        if (!isNull(args.y2)) {
            float d4 = atF(args.sum4, at).v[0];
            sum -= loadT(atT(args.y2, at), 0) * d4;
            storeT(atT(args.dy2, at), 0, d4);
        }
        if (!EXCLUSIVE) sum += erased;
        if (!isNull(args.dg)) atF(args.dg, at).v[0] = sum;
        if (EXCLUSIVE) sum += erased;
    }
}
