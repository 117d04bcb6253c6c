#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// Depthwise causal convolution of x [tokens, channels] with weight [channels, W]:
//   y_t = act(Σ_w weight[w] · x_{t-W+1+w} + bias) + residual_t      within each sequence, inputs before it from the initial state, else 0
// Mode 1 writes the final state instead: the last W inputs of each sequence, oldest first. Mode 2 writes dpre_t = dy_t · act'(pre_t) in fp32 to y.
layout(push_constant, scalar) uniform Args {
    TBuf x;
    AnyBuf weight;
    AnyBuf bias;
    TBuf residual;      // in mode 2: dy
    AnyBuf state;       // initial [sequences, channels, W] or null
    AnyBuf y;
    I32Buf starts;      // boundaries [sequences + 1] or null
    uint tokens;
    uint channels;
    uint length_;
    uint sequences;
    uint mode;
    uint isSilu;
    uint types;         // weight | bias << 4 | state << 8 | y << 12
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint W = 4;

#include "conv/taps.glsl"

float inputAt(Stretch s, int t, uint c) {
    if (t >= 0) return loadT(atT(args.x, uint64_t(s.first + uint(t)) * args.channels), c);
    if (isNull(args.state) || t < -int(W)) return 0.0;
    uint type = (args.types >> 8) & 15u;
    return loadAny(atAny(args.state, type, (uint64_t(s.sequence) * args.channels + c) * W), type, uint(t + int(W)));
}

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint64_t item = uint64_t(group) * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    uint yType = (args.types >> 12) & 15u;
    uint c = uint(item % args.channels);
    if (args.mode == 1) {
        if (item >= uint64_t(args.sequences) * args.channels) return;
        Stretch s = stretchAt(uint(item / args.channels));
        AnyBuf y = atAny(args.y, yType, item * W);
        for (uint w = 0; w < W; ++w) storeAny(y, yType, w, inputAt(s, int(s.end - s.first) - int(W) + int(w), c));
        return;
    }
    if (item >= uint64_t(args.tokens) * args.channels) return;
    uint token = uint(item / args.channels);
    Stretch s = stretchOf(token);
    int t = int(token - s.first);
    uint weightType = args.types & 15u, biasType = (args.types >> 4) & 15u;
    AnyBuf weight = atAny(args.weight, weightType, uint64_t(c) * W);
    float pre = isNull(args.bias) ? 0.0 : loadAny(args.bias, biasType, c);
    for (uint w = 0; w < W; ++w) pre += loadAny(weight, weightType, w) * inputAt(s, t - int(W) + 1 + int(w), c);
    uint64_t row = uint64_t(token) * args.channels;
    float y = args.isSilu != 0 ? pre * sigmoid(pre) : pre;
    if (args.mode == 2) y = loadT(atT(args.residual, row), c) * (args.isSilu != 0 ? sigmoid(pre) * (1.0 + pre * sigmoid(-pre)) : 1.0);
    else if (!isNull(args.residual)) y += loadT(atT(args.residual, row), c);
    storeAny(atAny(args.y, yType, row), yType, c, y);
}
