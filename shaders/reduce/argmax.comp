#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "common/octs.glsl"
// index[r] = the smallest i with x[r, i] = max over i, x [rows, width]; one workgroup a row. NaNs are passed over.
layout(push_constant, scalar) uniform Args {
    AnyBuf x;
    I32Buf index;
    uint rows;
    uint width;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TYPE = 0;
layout(constant_id = 2) const bool WIDE = true;

const uint AHEAD = 4;

shared float most[256];
shared uint place[256];

void main() {
    uint row = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint me = gl_LocalInvocationIndex;
    float best = uintBitsToFloat(0xff800000u);
    uint at = 0xffffffffu;
    if (row < args.rows) {
        AnyBuf x = atAny(args.x, TYPE, uint64_t(row) * args.width);
        [[dont_unroll]] for (uint first = me * 8; first < args.width; first += gl_WorkGroupSize.x * 8 * AHEAD) {
            Oct oct[AHEAD];
            [[unroll]] for (uint a = 0; a < AHEAD; a++) oct[a] = loadOct(x, TYPE, first + a * gl_WorkGroupSize.x * 8, args.width, WIDE);
            [[unroll]] for (uint e = 0; e < 8 * AHEAD; e++) {
                uint i = first + e / 8 * gl_WorkGroupSize.x * 8 + e % 8;
                float v = quadOf(oct[e / 8], TYPE, e / 4 % 2)[e % 4];
                if (i < args.width && (v > best || (at == 0xffffffffu && v == best))) { best = v; at = i; }
            }
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
