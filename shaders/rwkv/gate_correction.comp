#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "common/lanes.glsl"
// For each token and head: y = (o + s v) g with s = sum r k rk; r, k [tokens, heads, K], o, v, g, y [tokens, heads, V], rk [heads, K] of any float type.
layout(push_constant, scalar) uniform Args {
    TBuf o; TBuf r; TBuf k; AnyBuf rk; TBuf v; TBuf g; TBuf y;
    uint rows;          // tokens x heads
    uint heads;
    uint K;
    uint V;
    uint rkType;
    uint lanes;         // invocations of a row, a power of two
    uint wide;
} args;

layout(local_size_x_id = 0) in;

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint lane = laneSlot() % args.lanes;
    uint row = group * (gl_WorkGroupSize.x / args.lanes) + laneSlot() / args.lanes;
    bool isInside = row < args.rows, wide = args.wide != 0;
    uint endK = isInside ? args.K : 0, endV = isInside ? args.V : 0;
    uint64_t atK = uint64_t(row) * args.K, atV = uint64_t(row) * args.V;
    TBuf r = atT(args.r, atK), k = atT(args.k, atK);
    AnyBuf rk = atAny(args.rk, args.rkType, row % args.heads * args.K);
    float s = 0;
    for (uint i = lane * 4; i < endK; i += args.lanes * 4) {
        s += dot(rowT(r, i, args.K, wide) * rowT(k, i, args.K, wide), rowAny(rk, args.rkType, i, args.K, wide));
    }
    s = laneSum(s, args.lanes);
    TBuf o = atT(args.o, atV), v = atT(args.v, atV), g = atT(args.g, atV), y = atT(args.y, atV);
    for (uint i = lane * 4; i < endV; i += args.lanes * 4) {
        storeRowT(y, i, args.V, wide, (rowT(o, i, args.V, wide) + s * rowT(v, i, args.V, wide)) * rowT(g, i, args.V, wide));
    }
}
