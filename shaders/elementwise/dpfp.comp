#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
// DPFP (Schlag et al. 2021) over rows of x [rows, K]: r = [relu(x), -relu(x)], y [rows, nu, 2K] with y[j, i] = r[i] · r[i - j - 1 mod 2K].
// With dy: dx instead, y[i] is then dx.
layout(push_constant, scalar) uniform Args {
    TBuf x;
    TBuf dy;        // null in forward
    TBuf y;
    uint rows;
    uint width;     // K
    uint nu;
} args;

layout(local_size_x_id = 0) in;

float r(TBuf x, uint i) {
    float v = max(loadT(x, i % args.width), 0.0);
    return i < args.width ? v : -v;
}

// d loss / d r[i]: r[i] stands in y[j, i] and in y[j, i + j + 1].
float slope(TBuf x, TBuf dy, uint i) {
    uint n = 2 * args.width;
    float d = 0;
    for (uint j = 0; j < args.nu; ++j) {
        uint shift = (j + 1) % n;
        uint before = (i + n - shift) % n, after = (i + shift) % n;
        d += loadT(dy, j * n + i) * r(x, before) + loadT(dy, j * n + after) * r(x, after);
    }
    return d;
}

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint64_t item = uint64_t(group) * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    uint n = 2 * args.width;
    if (isNull(args.dy)) {
        if (item >= uint64_t(args.rows) * n * args.nu) return;
        uint64_t row = item / (n * args.nu);
        uint place = uint(item % (n * args.nu));
        uint i = place % n, shift = (place / n + 1) % n;
        TBuf x = atT(args.x, row * args.width);
        storeT(atT(args.y, row * n * args.nu), place, r(x, i) * r(x, (i + n - shift) % n));
    } else {
        if (item >= uint64_t(args.rows) * args.width) return;
        uint64_t row = item / args.width;
        uint i = uint(item % args.width);
        TBuf x = atT(args.x, row * args.width);
        TBuf dy = atT(args.dy, row * n * args.nu);
        float d = loadT(x, i) > 0 ? slope(x, dy, i) - slope(x, dy, i + args.width) : 0.0;
        storeT(atT(args.y, row * args.width), i, d);
    }
}
