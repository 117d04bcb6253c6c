// lengths[n] += tokens of sequence n.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/sequences.glsl"

layout(push_constant, scalar) uniform Args { I32Buf lengths; I32Buf packed; uint N; uint T; } args;

layout(local_size_x_id = 0) in;

void main() {
    uint n = gl_GlobalInvocationID.x;
    if (n < args.N) args.lengths.v[n] += int(sequenceSpan(args.packed, n, args.T).count);
}
