#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// The k largest elements of each row of x [rows, width], in falling order, equal ones by rising index: values [rows, k] in fp32, indices [rows, k]. NaNs are passed
// over; where fewer than k elements are left the value is −∞ and the index −1.
// One workgroup a row. Each invocation knows the best of its own elements that were not taken; k times the best of all is taken, and its owner looks for its next.
layout(push_constant, scalar) uniform Args {
    AnyBuf x;
    F32Buf values;
    I32Buf indices;
    uint rows;
    uint width;
    uint k;
    uint type;
} args;

layout(local_size_x_id = 0) in;

const uint NONE = 0xffffffffu;
shared float most[256];
shared uint place[256];

bool isNaN(float x) { return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u; }

// Whether element (a, i) comes before (b, j).
bool precedes(float a, uint i, float b, uint j) { return i != NONE && (j == NONE || a > b || (a == b && i < j)); }

void main() {
    uint row = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    if (row >= args.rows) return;
    uint me = gl_LocalInvocationIndex;
    AnyBuf x = atAny(args.x, args.type, uint64_t(row) * args.width);
    float best = 0, taken = 0;
    uint at = NONE, takenAt = NONE;
    bool isStale = true;
    for (uint t = 0; t < args.k; ++t) {
        if (isStale) {                          // the first of this invocation's elements behind the one that was taken
            at = NONE;
            for (uint i = me; i < args.width; i += gl_WorkGroupSize.x) {
                float v = loadAny(x, args.type, i);
                if (!isNaN(v) && (takenAt == NONE || precedes(taken, takenAt, v, i)) && precedes(v, i, best, at)) { best = v; at = i; }
            }
        }
        most[me] = best;
        place[me] = at;
        for (uint o = gl_WorkGroupSize.x / 2; o > 0; o /= 2) {
            barrier();
            if (me < o && precedes(most[me + o], place[me + o], most[me], place[me])) {
                most[me] = most[me + o];
                place[me] = place[me + o];
            }
        }
        barrier();
        isStale = at != NONE && place[0] == at;
        if (isStale) { taken = best; takenAt = at; }
        if (me == 0) {
            atF(args.values, uint64_t(row) * args.k).v[t] = place[0] == NONE ? uintBitsToFloat(0xff800000u) : most[0];
            atI(args.indices, uint64_t(row) * args.k).v[t] = int(place[0]);
        }
        barrier();
    }
}
