#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// Philox 4x32-10 (Salmon et al. 2011): counter (offset + i/4 in 64 bits, 0, 0) and key `seed` give the numbers of elements i .. i + 3, whatever the device.
// kind 0: uniform in [a, b); kind 1: normal with mean a and standard deviation b, by Box and Muller from pairs.
layout(push_constant, scalar) uniform Args {
    TBuf y;
    uint n;
    uint kind;
    uint seedLow;
    uint seedHigh;
    uint offsetLow;
    uint offsetHigh;
    float a;
    float b;
} args;

layout(local_size_x_id = 0) in;

uvec4 philox(uvec4 counter, uvec2 key) {
    [[dont_unroll]] for (uint round_ = 0; round_ < 10; ++round_) {
        uint high0, low0, high1, low1;
        umulExtended(0xD2511F53u, counter.x, high0, low0);
        umulExtended(0xCD9E8D57u, counter.z, high1, low1);
        counter = uvec4(high1 ^ counter.y ^ key.x, low1, high0 ^ counter.w ^ key.y, low0);
        key += uvec2(0x9E3779B9u, 0xBB67AE85u);
    }
    return counter;
}

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint piece = group * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    if (uint64_t(piece) * 4 >= args.n) return;
    uint64_t counter = packUint2x32(uvec2(args.offsetLow, args.offsetHigh)) + piece;
    uvec4 bits = philox(uvec4(unpackUint2x32(counter), 0, 0), uvec2(args.seedLow, args.seedHigh));
    vec4 u = vec4(bits >> 8) * (1.0 / 16777216.0);                      // [0, 1)
    vec4 y;
    if (args.kind == 0) y = args.a + (args.b - args.a) * u;
    else {
        vec2 radius = sqrt(-2.0 * log(1.0 - u.xz));                     // 1 - u lies in (0, 1]
        vec2 angle = 6.2831853 * (u.yw - 0.5);
        y = args.a + args.b * vec4(radius.x * cos(angle.x), radius.x * sin(angle.x), radius.y * cos(angle.y), radius.y * sin(angle.y));
    }
    for (uint k = 0; k < 4 && piece * 4 + k < args.n; ++k) storeT(args.y, piece * 4 + k, y[k]);
}
