// Keys and queries with the decay of their chunk taken in, for a gate of channels: y = x e^{G_C - G} for rows that write (x1, x2), x e^G for one that reads
// (x3). Any of them may be null.
// x, y [tokens, H, K]; G: cumulative log decay in the chunk, fp32 [tokens, H, K].
// One workgroup a chunk (x) and head (y).
// @variants T=f32|f16|bf16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "linear/sequences.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf x1; TBuf x2; TBuf x3; F32Buf gate; TBuf y1; TBuf y2; TBuf y3; I32Buf packed;
    uint N; uint T; uint C; uint H; uint K;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool WIDE = true;            // rows of whole groups of four, at addresses of four

uint K = args.K, stride = args.H * args.K;

vec4 gateQuad(F32Buf p, uint i, uint c) {
    vec4 x = vec4(0);
    if (WIDE) x = load4F(p, i + c);
    else [[unroll]] for (uint e = 0; e < 4; e++) if (c + e < K) x[e] = p.v[i + c + e];
    return x;
}

void scaleRow(TBuf x, TBuf y, uint i, uint c, vec4 factor) {
    storeRowT(y, i + c, i + K, WIDE, factor * rowT(x, i + c, i + K, WIDE));
}

void main() {
    Chunk chunk = chunkAt(args.packed, args.N, gl_WorkGroupID.x, args.T, args.C);
    if (chunk.sequence < 0) return;
    uint count = chunk.tokens.count, quads = (K + 3) / 4;
    uint64_t at = (uint64_t(chunk.tokens.first) * args.H + gl_WorkGroupID.y) * K;
    F32Buf gates = atF(args.gate, at);
    [[dont_unroll]] for (uint e = gl_LocalInvocationIndex; e < count * quads; e += gl_WorkGroupSize.x) {
        uint i = e / quads * stride, c = e % quads * 4;
        vec4 g = gateQuad(gates, i, c), toEnd = exp(gateQuad(gates, (count - 1) * stride, c) - g);
        if (!isNull(args.x1)) scaleRow(atT(args.x1, at), atT(args.y1, at), i, c, toEnd);
        if (!isNull(args.x2)) scaleRow(atT(args.x2, at), atT(args.y2, at), i, c, toEnd);
        if (!isNull(args.x3)) scaleRow(atT(args.x3, at), atT(args.y3, at), i, c, exp(g));
    }
}
