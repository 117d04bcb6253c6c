// Differences of dot products, in fp32: y[a, c] = sum over b of x[a, b, c] xWeight[a, b, c] - z[a, b, c] zWeight[a, b, c],
// for arrays [A, width, inner]; without weights
// xWeight is 1, z may be null. With inner = 1 the dot products of rows.
// One workgroup has 8 results, 32 threads each.
// @variants T=f32|f16|bf16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf x; F32Buf xWeight; TBuf z; F32Buf zWeight; F32Buf y;
    uint results; uint width; uint inner;
} args;

layout(local_size_x_id = 0) in;

shared float part[8][32];

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint slot = gl_LocalInvocationID.x / 32, lane = gl_LocalInvocationID.x % 32;
    uint result = group * 8 + slot;
    float sum = 0;
    if (result < args.results) {
        uint64_t corner = uint64_t(result / args.inner) * args.width * args.inner + result % args.inner;
        for (uint b = lane; b < args.width; b += 32) {
            uint64_t at = corner + uint64_t(b) * args.inner;
            float x = loadT(atT(args.x, at), 0);
            sum += isNull(args.xWeight) ? x : x * atF(args.xWeight, at).v[0];
            if (!isNull(args.z)) sum -= loadT(atT(args.z, at), 0) * atF(args.zWeight, at).v[0];
        }
    }
    part[slot][lane] = sum;
    barrier();
    if (lane != 0 || result >= args.results) return;
    float y = 0;
    for (uint i = 0; i < 32; i++) y += part[slot][i];
    args.y.v[result] = y;
}
