#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// δ_t = x_{t-1} - x_t over x [tokens, channels] within each sequence, x_{-1} = state [sequences, channels] or 0.
// Backward (x is then dδ): dx_t = dδ_{t+1} - dδ_t, the last one plus dlast (the gradient of the last input, or null); dstate = dδ_0.
layout(push_constant, scalar) uniform Args {
    TBuf x;
    AnyBuf state;       // in backward: dlast
    TBuf y;
    AnyBuf dstate;      // backward, or null
    I32Buf starts;
    uint tokens;
    uint channels;
    uint length_;
    uint sequences;
    uint stateType;
    uint dstateType;
    uint backward;
} args;

layout(local_size_x_id = 0) in;

#include "conv/taps.glsl"

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint64_t item = uint64_t(group) * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    if (item >= uint64_t(args.tokens) * args.channels) return;
    uint token = uint(item / args.channels), c = uint(item % args.channels);
    Stretch s = stretchOf(token);
    bool isEdge = args.backward != 0 ? token + 1 == s.end : token == s.first;
    uint64_t row = uint64_t(token) * args.channels;
    float here = loadT(atT(args.x, row), c);
    float other = 0;
    if (!isEdge) other = loadT(atT(args.x, args.backward != 0 ? row + args.channels : row - args.channels), c);
    else if (!isNull(args.state)) other = loadAny(atAny(args.state, args.stateType, uint64_t(s.sequence) * args.channels), args.stateType, c);
    storeT(atT(args.y, row), c, other - here);
    if (args.backward != 0 && token == s.first && !isNull(args.dstate)) {
        storeAny(atAny(args.dstate, args.dstateType, uint64_t(s.sequence) * args.channels), args.dstateType, c, here);
    }
}
