#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
// Whether a step counts, by one invocation: state = (scale, good, skipped, stopped), clip = (norm, factor, non-finite), which becomes (…, verdict).
//   0: it counts; after `interval` of them in a row the scale of the loss doubles, up to `most`
//   1: gradients overflowed under a scale above `least`: they are dropped, the scale halves
//   2: the loss, or gradients under the lowest scale, are not finite: this step and all after it change nothing
//   3: a step after such a one
layout(push_constant, scalar) uniform Args {
    F32Buf state;
    F32Buf clip;
    F32Buf loss;
    uint interval;
    float least;
    float most;
} args;

layout(local_size_x_id = 0) in;

bool isFinite(float x) { return (floatBitsToUint(x) & 0x7f800000u) != 0x7f800000u; }

void main() {
    if (gl_LocalInvocationIndex != 0) return;
    float scale = args.state.v[0], good = args.state.v[1];
    bool overflows = args.clip.v[2] != 0;
    uint verdict = 0;
    if (args.state.v[3] != 0) verdict = 3;
    else if (!isFinite(args.loss.v[0]) || (overflows && scale <= args.least)) verdict = 2;
    else if (overflows) verdict = 1;
    if (verdict == 0) {
        good += 1;
        if (good >= float(args.interval)) {
            scale = max(scale, min(2 * scale, args.most));
            good = 0;
        }
    } else if (verdict == 1) {
        scale = max(scale / 2, args.least);
        good = 0;
        args.state.v[2] += 1;
    } else args.state.v[3] = 1;
    args.state.v[0] = scale;
    args.state.v[1] = good;
    args.clip.v[2] = float(verdict);
}
