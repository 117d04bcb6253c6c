#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// count[0] = max(least, the number of labels [n] that are not `ignored`), by one workgroup.
layout(push_constant, scalar) uniform Args {
    AnyBuf labels;
    F32Buf count;
    uint n;
    uint labelType;
    int ignored;
    uint least;
} args;

layout(local_size_x_id = 0) in;

shared uint found[256];

void main() {
    uint me = gl_LocalInvocationIndex;
    uint mine = 0;
    for (uint i = me; i < args.n; i += gl_WorkGroupSize.x) mine += loadIndex(args.labels, args.labelType, i) != args.ignored ? 1 : 0;
    found[me] = mine;
    for (uint o = gl_WorkGroupSize.x / 2; o > 0; o /= 2) {
        barrier();
        if (me < o) found[me] += found[me + o];
    }
    if (me == 0) args.count.v[0] = float(max(found[0], args.least));
}
