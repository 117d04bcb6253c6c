// NORM: linear attention's normalisation, one row of 32 threads for each (token, head).
//   den = scale q . z + 1e-10;  y = o / den                                    (z: running sum of keys, fp32)
// @variants T=f32|f16|bf16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf q; F32Buf z; TBuf o; TBuf y; F32Buf den;
    uint rows; uint K; uint V; float scale;
} args;

layout(local_size_x_id = 0) in;

shared float part[8][32];

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint slot = gl_LocalInvocationID.x / 32, lane = gl_LocalInvocationID.x % 32;
    uint row = group * 8 + slot;
    bool inside = row < args.rows;
    float sum = 0;
    for (uint k = lane; inside && k < args.K; k += 32) {
        sum += loadT(atT(args.q, uint64_t(row) * args.K), k) * atF(args.z, uint64_t(row) * args.K).v[k];
    }
    part[slot][lane] = sum;
    barrier();
    if (!inside) return;
    float den = 0;
    for (uint i = 0; i < 32; i++) den += part[slot][i];
    den = args.scale * den + 1e-10;
    if (lane == 0) args.den.v[row] = den;
    for (uint v = lane; v < args.V; v += 32) {
        storeT(atT(args.y, uint64_t(row) * args.V), v, loadT(atT(args.o, uint64_t(row) * args.V), v) / den);
    }
}
