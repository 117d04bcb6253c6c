#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "common/lanes.glsl"
// result = (norm, factor, non-finite) from n partial sums of squares of all gradients, by one workgroup: norm = √Σ / s,
// factor = min(1, maxNorm / (norm + 1e-6)) / s, non-finite = 1 if the norm is NaN or infinite, else 0. s = scale[0], by which all gradients were
// multiplied; 1 without it.
layout(push_constant, scalar) uniform Args {
    F32Buf squares;
    F32Buf scale;
    F32Buf result;
    uint n;
    float maxNorm;
} args;

layout(local_size_x_id = 0) in;

void main() {
    float sum = 0;
    for (uint i = laneSlot(); i < args.n; i += gl_WorkGroupSize.x) sum += args.squares.v[i];
    float scale = scalarOr(args.scale, 0, 1.0, uint64_t(args.squares));
    float norm = sqrt(laneSum(sum, gl_WorkGroupSize.x)) / scale;
    if (laneSlot() != 0) return;
    args.result.v[0] = norm;
    args.result.v[1] = min(1.0, args.maxNorm / (norm + 1e-6)) / scale;
    args.result.v[2] = (floatBitsToUint(norm) & 0x7f800000u) == 0x7f800000u ? 1.0 : 0.0;
}
