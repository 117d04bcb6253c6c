#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "common/lanes.glsl"
// Gradients of gate_correction.comp: with e = dy g and ds = sum e v: do = e, dv = s e, dg = dy (o + s v), dr = ds k rk, dk = ds r rk, and
// drk [tokens, heads, K] f32 = ds r k, not summed over tokens.
struct Arguments {
    TBuf o; TBuf r; TBuf k; AnyBuf rk; TBuf v; TBuf g; TBuf dy;
    TBuf dO; TBuf dr; TBuf dk; F32Buf drk; TBuf dv; TBuf dg;
    uint rows;
    uint heads;
    uint K;
    uint V;
    uint rkType;
    uint lanes;
    uint wide;
};
layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer ArgumentsRef { Arguments v; };
layout(push_constant, scalar) uniform Push { ArgumentsRef arguments; };

layout(local_size_x_id = 0) in;

void main() {
    Arguments args = arguments.v;
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint lane = laneSlot() % args.lanes;
    uint row = group * (gl_WorkGroupSize.x / args.lanes) + laneSlot() / args.lanes;
    bool isInside = row < args.rows, wide = args.wide != 0;
    uint K = args.K, V = args.V, endK = isInside ? K : 0, endV = isInside ? V : 0;
    uint64_t atK = uint64_t(row) * K, atV = uint64_t(row) * V;
    TBuf r = atT(args.r, atK), k = atT(args.k, atK);
    AnyBuf rk = atAny(args.rk, args.rkType, row % args.heads * K);
    TBuf o = atT(args.o, atV), v = atT(args.v, atV), g = atT(args.g, atV), dy = atT(args.dy, atV);
    float s = 0, ds = 0;
    for (uint i = lane * 4; i < endK; i += args.lanes * 4) s += dot(rowT(r, i, K, wide) * rowT(k, i, K, wide), rowAny(rk, args.rkType, i, K, wide));
    for (uint i = lane * 4; i < endV; i += args.lanes * 4) ds += dot(rowT(dy, i, V, wide) * rowT(g, i, V, wide), rowT(v, i, V, wide));
    s = laneSum(s, args.lanes);
    ds = laneSum(ds, args.lanes);
    for (uint i = lane * 4; i < endV; i += args.lanes * 4) {
        vec4 d = rowT(dy, i, V, wide), e = d * rowT(g, i, V, wide);
        storeRowT(atT(args.dO, atV), i, V, wide, e);
        storeRowT(atT(args.dv, atV), i, V, wide, s * e);
        storeRowT(atT(args.dg, atV), i, V, wide, d * (rowT(o, i, V, wide) + s * rowT(v, i, V, wide)));
    }
    for (uint i = lane * 4; i < endK; i += args.lanes * 4) {
        vec4 x = rowT(r, i, K, wide), y = rowT(k, i, K, wide), weight = rowAny(rk, args.rkType, i, K, wide), d = ds * x * y;
        storeRowT(atT(args.dr, atK), i, K, wide, ds * y * weight);
        storeRowT(atT(args.dk, atK), i, K, wide, ds * x * weight);
        [[unroll]] for (uint j = 0; j < 4; ++j) if (i + j < K) atF(args.drk, atK).v[i + j] = d[j];
    }
}
