#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// Gradients of short_conv.comp from dpre [tokens, channels] (fp32):
//   mode 0: dx_t = Σ_w weight[w] · dpre_{t+W-1-w} + dfinal of the input if the final state holds it
//   mode 1: the same for the times -W..-1 of the initial state, dstate [sequences, channels, W]
//   mode 2: dweight[c, w] = Σ_t dpre_t · x_{t-W+1+w} and dbias[c] = Σ_t dpre_t over block b of the tokens, [blocks, channels, W] and [blocks, channels] (fp32)
layout(push_constant, scalar) uniform Args {
    F32Buf dpre;
    TBuf x;
    AnyBuf weight;
    AnyBuf state;       // initial, or null
    AnyBuf dfinal;      // gradient of the final state [sequences, channels, W], or null
    AnyBuf dx;          // dx, dstate or dweight
    F32Buf dbias;       // mode 2, or null
    I32Buf starts;
    uint tokens;
    uint channels;
    uint length_;
    uint sequences;
    uint mode;
    uint blockTokens;
    uint types;         // weight | state << 4 | dfinal << 8 | dx << 12
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint W = 4;

#include "conv/taps.glsl"

// Gradient of the input at time t of a sequence, t from -W on.
float inputGradient(Stretch s, int t, uint c) {
    int count = int(s.end - s.first);
    uint weightType = args.types & 15u, finalType = (args.types >> 8) & 15u;
    AnyBuf weight = atAny(args.weight, weightType, uint64_t(c) * W);
    float d = 0;
    for (uint w = 0; w < W; ++w) {
        int at = t + int(W) - 1 - int(w);
        if (at >= 0 && at < count) d += loadAny(weight, weightType, w) * atF(args.dpre, uint64_t(s.first + uint(at)) * args.channels).v[c];
    }
    int place = t - count + int(W);
    if (!isNull(args.dfinal) && place >= 0) d += loadAny(atAny(args.dfinal, finalType, (uint64_t(s.sequence) * args.channels + c) * W), finalType, uint(place));
    return d;
}

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint64_t item = uint64_t(group) * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    uint c = uint(item % args.channels);
    uint n = uint(item / args.channels);
    uint outType = (args.types >> 12) & 15u;
    if (args.mode == 0) {
        if (item >= uint64_t(args.tokens) * args.channels) return;
        Stretch s = stretchOf(n);
        storeAny(atAny(args.dx, outType, uint64_t(n) * args.channels), outType, c, inputGradient(s, int(n - s.first), c));
    } else if (args.mode == 1) {
        if (item >= uint64_t(args.sequences) * args.channels) return;
        Stretch s = stretchAt(n);
        for (uint w = 0; w < W; ++w) storeAny(atAny(args.dx, outType, item * W), outType, w, inputGradient(s, int(w) - int(W), c));
    } else {
        uint first = n * args.blockTokens;
        if (first >= args.tokens) return;
        uint end = min(args.tokens, first + args.blockTokens);
        float dweight[W];
        for (uint w = 0; w < W; ++w) dweight[w] = 0;
        float dbias = 0;
        uint stateType = (args.types >> 4) & 15u;
        Stretch s = stretchOf(first);
        for (uint token = first; token < end; ++token) {
            if (token >= s.end) s = stretchOf(token);
            float d = atF(args.dpre, uint64_t(token) * args.channels).v[c];
            dbias += d;
            for (uint w = 0; w < W; ++w) {
                int t = int(token - s.first) - int(W) + 1 + int(w);
                float x = 0;
                if (t >= 0) x = loadT(atT(args.x, uint64_t(s.first + uint(t)) * args.channels), c);
                else if (!isNull(args.state)) x = loadAny(atAny(args.state, stateType, (uint64_t(s.sequence) * args.channels + c) * W), stateType, uint(t + int(W)));
                dweight[w] += d * x;
            }
        }
        for (uint w = 0; w < W; ++w) F32Buf(uint64_t(args.dx)).v[uint(item) * W + w] = dweight[w];
        if (!isNull(args.dbias)) args.dbias.v[uint(item)] = dbias;
    }
}
