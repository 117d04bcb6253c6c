#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/lanes.glsl"
// result = (norm, factor, non-finite) from n partial sums of squares of all gradients, by one workgroup: norm = √Σ,
// factor = min(1, maxNorm / (norm + 1e-6)), non-finite = 1 if the norm is NaN or infinite, else 0.
layout(push_constant, scalar) uniform Args {
    F32Buf squares;
    F32Buf result;
    uint n;
    float maxNorm;
} args;

layout(local_size_x_id = 0) in;

void main() {
    float sum = 0;
    for (uint i = laneSlot(); i < args.n; i += gl_WorkGroupSize.x) sum += args.squares.v[i];
    float norm = sqrt(laneSum(sum, gl_WorkGroupSize.x));
    if (laneSlot() != 0) return;
    args.result.v[0] = norm;
    args.result.v[1] = min(1.0, args.maxNorm / (norm + 1e-6));
    args.result.v[2] = (floatBitsToUint(norm) & 0x7f800000u) == 0x7f800000u ? 1.0 : 0.0;
}
