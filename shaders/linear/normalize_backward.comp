// NORM backward: y = o / den, den = scale q . z + 1e-10, one row of 32 threads for each (token, head).
//   do = dy / den;  dden = - (dy . y) / den;  dq = scale dden z;  dz = scale dden q      (dz fp32; its sum over time is dk)
// @variants T=f32|f16|bf16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf q; F32Buf z; TBuf y; TBuf dy; F32Buf den; TBuf dO; TBuf dq; F32Buf dz;
    uint rows; uint K; uint V; float scale;
} args;

layout(local_size_x_id = 0) in;

shared float part[8][32];

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint slot = gl_LocalInvocationID.x / 32, lane = gl_LocalInvocationID.x % 32;
    uint row = group * 8 + slot;
    bool inside = row < args.rows;
    uint64_t v0 = uint64_t(row) * args.V, k0 = uint64_t(row) * args.K;
    float sum = 0;
    for (uint v = lane; inside && v < args.V; v += 32) sum += loadT(atT(args.dy, v0), v) * loadT(atT(args.y, v0), v);
    part[slot][lane] = sum;
    barrier();
    if (!inside) return;
    float den = args.den.v[row], dden = 0;
    for (uint i = 0; i < 32; i++) dden -= part[slot][i];
    dden *= args.scale / den;
    for (uint v = lane; v < args.V; v += 32) storeT(atT(args.dO, v0), v, loadT(atT(args.dy, v0), v) / den);
    for (uint k = lane; k < args.K; k += 32) {
        storeT(atT(args.dq, k0), k, dden * atF(args.z, k0).v[k]);
        atF(args.dz, k0).v[k] = dden * loadT(atT(args.q, k0), k);
    }
}
