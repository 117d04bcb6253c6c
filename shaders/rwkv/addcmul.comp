#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// y[i] = x + delta m_i for i < count: x, delta [tokens, width], m_i [width] of any float type, y [count, tokens, width].
layout(push_constant, scalar) uniform Args {
    TBuf x;
    TBuf delta;
    AnyBuf m0; AnyBuf m1; AnyBuf m2; AnyBuf m3; AnyBuf m4; AnyBuf m5;
    TBuf y;
    uint n;             // elements of x
    uint width;
    uint count;
    uint mixType;
    uint wide;
} args;

layout(local_size_x_id = 0) in;

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint pieces = (args.width + 3) / 4;
    uint item = group * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    if (item >= args.n / args.width * pieces) return;
    uint c = item % pieces * 4;
    uint64_t row = uint64_t(item / pieces) * args.width;
    bool wide = args.wide != 0;
    vec4 x = rowT(atT(args.x, row), c, args.width, wide), delta = rowT(atT(args.delta, row), c, args.width, wide);
    AnyBuf mixes[6] = AnyBuf[6](args.m0, args.m1, args.m2, args.m3, args.m4, args.m5);
    [[unroll]] for (uint i = 0; i < 6; ++i) {
        if (i < args.count) storeRowT(atT(args.y, uint64_t(i) * args.n + row), c, args.width, wide, x + delta * rowAny(mixes[i], args.mixType, c, args.width, wide));
    }
}
