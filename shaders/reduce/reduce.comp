#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// x [outer, count, inner] -> y [outer, splits, inner]: element (o, s, i) is scale / divisor times the sum (or the sum of squares, the count of NaNs and
// infinities, the largest) of the s-th stretch of `chunk` of the count. A second pass over y with splits = 1 ends it.
layout(push_constant, scalar) uniform Args {
    TBuf x;
    AnyBuf y;
    F32Buf divisor;     // 1 element or null
    uint outer;
    uint count;
    uint inner;
    uint splits;
    uint chunk;
    uint columns;       // invocations side by side along inner, a power of two
    uint depth;         // invocations along count, a power of two; the rest lie along outer
    uint yType;
    float scale;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint OP = 0;      // 0 sum, 1 sum of squares, 2 count of non-finite, 3 max

const uint AHEAD = 8;

shared float partial[256];

float none() { return OP == 3 ? uintBitsToFloat(0xff800000u) : 0.0; }
float term(float x) {
    if (OP == 1) return x * x;
    if (OP == 2) return (floatBitsToUint(x) & 0x7f800000u) == 0x7f800000u ? 1.0 : 0.0;
    return x;
}
float join(float a, float b) { return OP == 3 ? max(a, b) : a + b; }

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint c = gl_LocalInvocationIndex % args.columns;
    uint d = gl_LocalInvocationIndex / args.columns % args.depth;
    uint rest = gl_WorkGroupSize.x / (args.columns * args.depth);
    uint columnGroups = (args.inner + args.columns - 1) / args.columns;
    uint split = group / columnGroups % args.splits;
    uint i = group % columnGroups * args.columns + c;
    uint o = group / columnGroups / args.splits * rest + gl_LocalInvocationIndex / (args.columns * args.depth);
    bool isInside = i < args.inner && o < args.outer;

    float sum = none();
    if (isInside) {
        uint end = min(args.count, (split + 1) * args.chunk);
        TBuf x = atT(args.x, uint64_t(o) * args.count * args.inner);
        [[dont_unroll]] for (uint r = split * args.chunk + d; r < end; r += args.depth * AHEAD) {
            uint raw[AHEAD];
            [[unroll]] for (uint a = 0; a < AHEAD; ++a) raw[a] = rawT(atT(x, uint64_t(min(r + a * args.depth, end - 1)) * args.inner), i);
            [[unroll]] for (uint a = 0; a < AHEAD; ++a) if (r + a * args.depth < end) sum = join(sum, term(valueT(raw[a])));
        }
    }
    partial[gl_LocalInvocationIndex] = sum;
    for (uint half_ = args.depth / 2; half_ > 0; half_ /= 2) {
        barrier();
        if (d < half_) partial[gl_LocalInvocationIndex] = join(partial[gl_LocalInvocationIndex], partial[gl_LocalInvocationIndex + half_ * args.columns]);
    }
    if (d != 0 || !isInside) return;
    float y = partial[gl_LocalInvocationIndex] * args.scale / scalarOr(args.divisor, 0, 1.0, uint64_t(args.y));
    storeAny(atAny(args.y, args.yType, (uint64_t(o) * args.splits + split) * args.inner), args.yType, i, y);
}
