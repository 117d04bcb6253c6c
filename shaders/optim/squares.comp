#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "common/lanes.glsl"
// Sums of squares of up to eight gradients, a stretch of one a workgroup, in their order: sums[p]. A gradient of n elements has max(1, n / STRETCH)
// stretches, none without elements; the last takes what the division leaves.
layout(push_constant, scalar) uniform Args {
    AnyBuf x0;
    AnyBuf x1;
    AnyBuf x2;
    AnyBuf x3;
    AnyBuf x4;
    AnyBuf x5;
    AnyBuf x6;
    AnyBuf x7;
    F32Buf sums;
    uint n0;
    uint n1;
    uint n2;
    uint n3;
    uint n4;
    uint n5;
    uint n6;
    uint n7;
    uint types;         // 4 bits each
    uint wide;          // 1 bit each
} args;

layout(local_size_x_id = 0) in;

const uint STRETCH = 65536, AHEAD = 4;

uint stretches(uint n) { return n == 0 ? 0 : max(1, n / STRETCH); }

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint64_t all[8] = uint64_t[8](uint64_t(args.x0), uint64_t(args.x1), uint64_t(args.x2), uint64_t(args.x3), uint64_t(args.x4), uint64_t(args.x5), uint64_t(args.x6),
        uint64_t(args.x7));
    uint counts[8] = uint[8](args.n0, args.n1, args.n2, args.n3, args.n4, args.n5, args.n6, args.n7);
    uint64_t x = all[0];
    uint n = 0, which = 0, stretch = 0, first = 0;
    [[unroll]] for (uint t = 0; t < 8; ++t) {
        uint next = first + stretches(counts[t]);
        if (group >= first && group < next) {
            x = all[t];
            n = counts[t];
            which = t;
            stretch = group - first;
        }
        first = next;
    }
    if (group >= first) return;
    uint type = (args.types >> (4 * which)) & 15u;
    bool wide = ((args.wide >> which) & 1u) != 0;
    uint from = stretch * STRETCH, to = stretch + 1 == stretches(n) ? n : from + STRETCH;
    float sum[AHEAD] = float[AHEAD](0, 0, 0, 0);
    uint step_ = 4 * gl_WorkGroupSize.x;
    [[dont_unroll]] for (uint i = from + 4 * laneSlot(); i < to; i += AHEAD * step_) {
        // Several loads on their way at once: a stretch is little work for a workgroup that waits for each.
        [[unroll]] for (uint k = 0; k < AHEAD; ++k) {
            if (i + k * step_ < to) {
                vec4 v = rowAny(AnyBuf(x), type, i + k * step_, to, wide);
                sum[k] += dot(v, v);
            }
        }
    }
    float total = laneSum((sum[0] + sum[1]) + (sum[2] + sum[3]), gl_WorkGroupSize.x);
    if (laneSlot() == 0) args.sums.v[group] = total;
}
