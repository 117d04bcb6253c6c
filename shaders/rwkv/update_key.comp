#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// y = k + k (a - 1) ka over k, a [tokens, width] and ka [width] of any float type. With dy: its gradients dk, da instead (y is not written), and
// partial [splits, width] f32, the sums of dy k (a - 1) over a stretch of `chunk` tokens. An invocation has four columns of such a stretch.
layout(push_constant, scalar) uniform Args {
    TBuf k;
    TBuf a;
    AnyBuf ka;
    TBuf y;
    TBuf dy;            // null in forward, as are the three that follow
    TBuf dk;
    TBuf da;
    F32Buf partial;
    uint tokens;
    uint width;
    uint kaType;
    uint chunk;
    uint wide;
} args;

layout(local_size_x_id = 0) in;

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint pieces = (args.width + 3) / 4;
    uint item = group * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    uint split = item / pieces, c = item % pieces * 4;
    if (split * args.chunk >= args.tokens) return;
    bool wide = args.wide != 0, isBackward = !isNull(args.dy);
    vec4 ka = rowAny(args.ka, args.kaType, c, args.width, wide), sum = vec4(0);
    uint end = min(args.tokens, (split + 1) * args.chunk);
    [[dont_unroll]] for (uint t = split * args.chunk; t < end; ++t) {
        uint64_t row = uint64_t(t) * args.width;
        vec4 k = rowT(atT(args.k, row), c, args.width, wide), a = rowT(atT(args.a, row), c, args.width, wide);
        vec4 factor = 1 + (a - 1) * ka;
        if (isBackward) {
            vec4 dy = rowT(atT(args.dy, row), c, args.width, wide);
            storeRowT(atT(args.dk, row), c, args.width, wide, dy * factor);
            storeRowT(atT(args.da, row), c, args.width, wide, dy * k * ka);
            sum += dy * k * (a - 1);
        } else storeRowT(atT(args.y, row), c, args.width, wide, k * factor);
    }
    if (!isBackward) return;
    F32Buf p = atF(args.partial, uint64_t(split) * args.width);
    [[unroll]] for (uint i = 0; i < 4; ++i) if (c + i < args.width) p.v[c + i] = sum[i];
}
