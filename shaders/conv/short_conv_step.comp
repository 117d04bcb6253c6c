#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// One token of short_conv.comp for each sequence: the state [sequences, channels, W] moves left by one, takes x [sequences, channels] in, and
// y = act(Σ_w weight[w] · state[w] + bias) + residual. In place.
layout(push_constant, scalar) uniform Args {
    AnyBuf x;
    AnyBuf weight;
    AnyBuf bias;
    AnyBuf residual;
    AnyBuf state;
    AnyBuf y;
    uint sequences;
    uint channels;
    uint taps;          // W
    uint isSilu;
    uint types;         // x, residual and y | weight << 4 | bias << 8 | state << 12
} args;

layout(local_size_x_id = 0) in;

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint item = group * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    if (item >= args.sequences * args.channels) return;
    uint c = item % args.channels;
    uint type = args.types & 15u, weightType = (args.types >> 4) & 15u, biasType = (args.types >> 8) & 15u, stateType = (args.types >> 12) & 15u;
    AnyBuf weight = atAny(args.weight, weightType, uint64_t(c) * args.taps);
    AnyBuf state = atAny(args.state, stateType, uint64_t(item) * args.taps);
    float pre = isNull(args.bias) ? 0.0 : loadAny(args.bias, biasType, c);
    for (uint w = 0; w < args.taps; ++w) {
        float value = w + 1 < args.taps ? loadAny(state, stateType, w + 1) : loadAny(args.x, type, item);
        storeAny(state, stateType, w, value);
        pre += loadAny(weight, weightType, w) * value;
    }
    float y = args.isSilu != 0 ? pre / (1.0 + exp(-pre)) : pre;
    if (!isNull(args.residual)) y += loadAny(args.residual, type, item);
    storeAny(args.y, type, item, y);
}
