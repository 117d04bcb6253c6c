// New keys or values go behind those of their sequences: ring[n, (length_n + t) % capacity] = x of token t of sequence n, for the last capacity tokens.
// x [tokens, width], ring [N, capacity, width], lengths [N] i32.
// @variants T=f32|f16|bf16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/sequences.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf x; TBuf ring; I32Buf packed; I32Buf lengths;
    uint T; uint width; uint capacity;
} args;

layout(local_size_x_id = 0) in;

void main() {
    uint n = gl_WorkGroupID.z, at = (gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x) * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    uint t = at / args.width, c = at % args.width;
    Span tokens = sequenceSpan(args.packed, n, args.T);
    if (t >= tokens.count || t + args.capacity < tokens.count) return;
    uint slot = (uint(args.lengths.v[n]) + t) % args.capacity;
    float x = loadT(atT(args.x, uint64_t(tokens.first + t) * args.width), c);
    storeT(atT(args.ring, (uint64_t(n) * args.capacity + slot) * args.width), c, x);
}
