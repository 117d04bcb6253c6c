#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// shifted [batch, length] = labels moved one to the left, `ignored` in the last column: logits of token t are asked for token t + 1.
layout(push_constant, scalar) uniform Args {
    AnyBuf labels;
    I32Buf shifted;
    uint count;
    uint length_;
    uint labelType;
    int ignored;
} args;

layout(local_size_x_id = 0) in;

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint i = group * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    if (i >= args.count) return;
    args.shifted.v[i] = i % args.length_ == args.length_ - 1 ? args.ignored : loadIndex(args.labels, args.labelType, i + 1);
}
