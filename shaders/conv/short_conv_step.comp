#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// One token of short_conv.comp for each sequence: the state [sequences, channels, W] moves left by one, takes x [sequences, channels] in, and
// y = act(Σ_w weight[w] · state[w] + bias) + residual. In place.
layout(push_constant, scalar) uniform Args {
    TBuf x;
    AnyBuf weight;
    AnyBuf bias;
    TBuf residual;
    AnyBuf state;
    TBuf y;
    uint sequences;
    uint channels;
    uint isSilu;
    uint types;         // weight | bias << 4 | state << 8
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint W = 4;

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint item = group * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    if (item >= args.sequences * args.channels) return;
    uint c = item % args.channels;
    uint weightType = args.types & 15u, biasType = (args.types >> 4) & 15u, stateType = (args.types >> 8) & 15u;
    AnyBuf weight = atAny(args.weight, weightType, uint64_t(c) * W);
    AnyBuf state = atAny(args.state, stateType, uint64_t(item) * W);
    float pre = isNull(args.bias) ? 0.0 : loadAny(args.bias, biasType, c);
    for (uint w = 0; w < W; ++w) {
        float value = w + 1 < W ? loadAny(state, stateType, w + 1) : loadT(args.x, item);
        storeAny(state, stateType, w, value);
        pre += loadAny(weight, weightType, w) * value;
    }
    float y = args.isSilu != 0 ? pre / (1.0 + exp(-pre)) : pre;
    if (!isNull(args.residual)) y += loadT(args.residual, item);
    storeT(args.y, item, y);
}
