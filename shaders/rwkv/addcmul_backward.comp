#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// Gradients of addcmul.comp from d_i [tokens, width] (null: 0): dx = sum d_i, ddelta = sum d_i m_i, and partial [splits, 6, width] f32, the sums of d_i delta over a
// stretch of `chunk` tokens. An invocation has four columns of such a stretch.
struct Arguments {
    TBuf d0; TBuf d1; TBuf d2; TBuf d3; TBuf d4; TBuf d5;
    AnyBuf m0; AnyBuf m1; AnyBuf m2; AnyBuf m3; AnyBuf m4; AnyBuf m5;
    TBuf delta; TBuf dx; TBuf ddelta; F32Buf partial;
    uint tokens;
    uint width;
    uint mixType;
    uint chunk;
    uint wide;
};
layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer ArgumentsRef { Arguments v; };
layout(push_constant, scalar) uniform Push { ArgumentsRef arguments; };

layout(local_size_x_id = 0) in;

void main() {
    Arguments args = arguments.v;
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint pieces = (args.width + 3) / 4;
    uint item = group * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    uint split = item / pieces, c = item % pieces * 4;
    if (split * args.chunk >= args.tokens) return;
    bool wide = args.wide != 0;
    TBuf d[6] = TBuf[6](args.d0, args.d1, args.d2, args.d3, args.d4, args.d5);
    AnyBuf mixes[6] = AnyBuf[6](args.m0, args.m1, args.m2, args.m3, args.m4, args.m5);
    vec4 mix[6], sum[6];
    [[unroll]] for (uint i = 0; i < 6; ++i) {
        mix[i] = isNull(d[i]) ? vec4(0) : rowAny(mixes[i], args.mixType, c, args.width, wide);
        sum[i] = vec4(0);
    }
    uint end = min(args.tokens, (split + 1) * args.chunk);
    [[dont_unroll]] for (uint t = split * args.chunk; t < end; ++t) {
        uint64_t row = uint64_t(t) * args.width;
        vec4 delta = rowT(atT(args.delta, row), c, args.width, wide), dx = vec4(0), ddelta = vec4(0);
        [[unroll]] for (uint i = 0; i < 6; ++i) {
            vec4 dy = isNull(d[i]) ? vec4(0) : rowT(atT(d[i], row), c, args.width, wide);
            dx += dy;
            ddelta += dy * mix[i];
            sum[i] += dy * delta;
        }
        storeRowT(atT(args.dx, row), c, args.width, wide, dx);
        storeRowT(atT(args.ddelta, row), c, args.width, wide, ddelta);
    }
    [[unroll]] for (uint i = 0; i < 6; ++i) {
        F32Buf p = atF(args.partial, (uint64_t(split) * 6 + i) * args.width);
        [[unroll]] for (uint k = 0; k < 4; ++k) if (c + k < args.width) p.v[c + k] = sum[i][k];
    }
}
