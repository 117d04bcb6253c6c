#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "elementwise/functions.glsl"
// y[i] = f(x[i], z[(i / inner) % period]), n elements; OP names f (SPREAD does not read x). z has any float type.
layout(push_constant, scalar) uniform Args {
    TBuf x;
    AnyBuf z;
    TBuf y;
    uint n;
    uint zType;
    uint inner;
    uint period;
    uint wide;      // 1: x, y four at a time; 2: z too, inner is then 1 and period n or a multiple of 4
    float a;
    float b;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint OP = 0;

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint i = (group * gl_WorkGroupSize.x + gl_LocalInvocationIndex) * 4;
    if (i >= args.n) return;
    bool wide = args.wide != 0 && i + 4 <= args.n;
    vec4 x = OP == SPREAD ? vec4(0) : rowT(args.x, i, args.n, wide);
    vec4 z = vec4(0);
    if (!isNull(args.z)) {
        if (args.wide == 2 && wide) z = load4Any(args.z, args.zType, i % args.period);
        else [[unroll]] for (uint k = 0; k < 4; ++k) if (i + k < args.n) z[k] = loadAny(args.z, args.zType, spread(i + k, args.inner, args.period));
    }
    vec4 y;
    [[unroll]] for (uint k = 0; k < 4; ++k) y[k] = apply(OP, x[k], z[k], args.a, args.b);
    storeRowT(args.y, i, args.n, wide, y);
}
