#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
// index[r] = the smallest i with x[r, i] = max over i, x [rows, width]; one workgroup a row. NaNs are passed over.
layout(push_constant, scalar) uniform Args {
    TBuf x;
    I32Buf index;
    uint rows;
    uint width;
} args;

layout(local_size_x_id = 0) in;

shared float most[256];
shared uint place[256];

void main() {
    uint row = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint me = gl_LocalInvocationIndex;
    float best = uintBitsToFloat(0xff800000u);
    uint at = 0xffffffffu;
    if (row < args.rows) {
        TBuf x = atT(args.x, uint64_t(row) * args.width);
        for (uint i = me; i < args.width; i += gl_WorkGroupSize.x) {
            float v = loadT(x, i);
            if (v > best || (at == 0xffffffffu && v == best)) { best = v; at = i; }
        }
    }
    most[me] = best;
    place[me] = at;
    for (uint o = gl_WorkGroupSize.x / 2; o > 0; o /= 2) {
        barrier();
        if (me < o && (most[me + o] > most[me] || (most[me + o] == most[me] && place[me + o] < place[me]))) {
            most[me] = most[me + o];
            place[me] = place[me + o];
        }
    }
    if (me == 0 && row < args.rows) args.index.v[row] = place[0] == 0xffffffffu ? 0 : int(place[0]);
}
