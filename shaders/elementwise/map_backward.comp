#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "elementwise/functions.glsl"
// dx[i] = dy[i] df/dx, dz[i] = dy[i] df/dz at x[i], z[(i / inner) % period]; dz is not summed over what z spread to. Either may be null.
layout(push_constant, scalar) uniform Args {
    TBuf dy;
    TBuf x;
    AnyBuf z;
    TBuf dx;
    AnyBuf dz;
    uint n;
    uint zType;
    uint dzType;
    uint inner;
    uint period;
    uint wide;      // as in map.comp
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
    vec4 dy = rowT(args.dy, i, args.n, wide);
    vec4 x = rowT(args.x, i, args.n, wide);
    vec4 z = vec4(0);
    if (!isNull(args.z)) {
        if (args.wide == 2 && wide) z = load4Any(args.z, args.zType, i % args.period);
        else [[unroll]] for (uint k = 0; k < 4; ++k) if (i + k < args.n) z[k] = loadAny(args.z, args.zType, spread(i + k, args.inner, args.period));
    }
    vec4 dx, dz;
    [[unroll]] for (uint k = 0; k < 4; ++k) {
        vec2 d = dy[k] * slopes(OP, x[k], z[k], args.a, args.b);
        dx[k] = d.x;
        dz[k] = d.y;
    }
    if (!isNull(args.dx)) storeRowT(args.dx, i, args.n, wide, dx);
    if (!isNull(args.dz)) storeRowAny(args.dz, args.dzType, i, args.n, wide, dz);
}
