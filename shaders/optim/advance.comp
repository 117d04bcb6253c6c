#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// Begins an optimizer step: step[0] += 1, correction = (1 - β1^step, 1 - β2^step), by one invocation. With clip = (norm, factor, non-finite) of a
// non-finite gradient it does nothing.
layout(push_constant, scalar) uniform Args {
    I32Buf step_;
    F32Buf correction;
    F32Buf clip;
    float logBeta1;
    float logBeta2;
} args;

layout(local_size_x_id = 0) in;

// 1 - e^x for x <= 0 without cancellation.
float oneMinusExp(float x) { return x > -0.1 ? -x * (1.0 + x * (0.5 + x * (1.0 / 6.0 + x * (1.0 / 24.0 + x / 120.0)))) : 1.0 - exp(x); }

void main() {
    if (gl_LocalInvocationIndex != 0 || scalarOr(args.clip, 2, 0.0, uint64_t(args.step_)) != 0) return;
    int t = args.step_.v[0] + 1;
    args.step_.v[0] = t;
    args.correction.v[0] = oneMinusExp(float(t) * args.logBeta1);
    args.correction.v[1] = oneMinusExp(float(t) * args.logBeta2);
}
