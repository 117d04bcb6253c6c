#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "common/lanes.glsl"
// Over rows of x [rows, width]: y = e^(x - max) / Σ e^(x - max), or y = x / (Σx + eps) if BY_SUM. With dy, the gradient instead, from saved = y
// (softmax: dx = y (dy - Σ dy y)) or saved = x (by sum S: dx = (dy - Σ dy x / S) / S).
layout(push_constant, scalar) uniform Args {
    TBuf saved;     // x, or what backward needs
    TBuf dy;        // null in forward
    TBuf y;         // y, or dx
    uint rows;
    uint width;
    uint lanes;
    uint bySum;
    uint wide;
    float eps;
} args;

layout(local_size_x_id = 0) in;

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint lane = laneSlot() % args.lanes;
    uint row = group * (gl_WorkGroupSize.x / args.lanes) + laneSlot() / args.lanes;
    bool wide = args.wide != 0;
    uint width = args.width;
    uint end = row < args.rows ? width : 0;
    uint64_t start = uint64_t(row) * width;
    TBuf x = atT(args.saved, start);
    TBuf dy = atT(args.dy, start);
    TBuf y = atT(args.y, start);
    bool isBackward = !isNull(args.dy);

    float top = uintBitsToFloat(0xff800000u);
    if (!isBackward && args.bySum == 0) {
        for (uint i = lane * 4; i < end; i += args.lanes * 4) {
            vec4 v = rowT(x, i, width, wide);
            [[unroll]] for (uint k = 0; k < 4; ++k) if (i + k < width) top = max(top, v[k]);
        }
        top = laneMax(top, args.lanes);
    }
    float sum = 0, product = 0;
    for (uint i = lane * 4; i < end; i += args.lanes * 4) {
        vec4 v = rowT(x, i, width, wide);
        if (isBackward) product += dot(v, rowT(dy, i, width, wide));
        if (args.bySum != 0) sum += dot(v, vec4(1));
        else if (!isBackward) [[unroll]] for (uint k = 0; k < 4; ++k) if (i + k < width) sum += exp(v[k] - top);
    }
    sum = laneSum(sum, args.lanes) + (args.bySum != 0 ? args.eps : 0.0);
    product = laneSum(product, args.lanes);
    for (uint i = lane * 4; i < end; i += args.lanes * 4) {
        vec4 v = rowT(x, i, width, wide);
        vec4 r;
        if (isBackward) {
            vec4 d = rowT(dy, i, width, wide);
            r = args.bySum != 0 ? (d - product / sum) / sum : v * (d - product);
        }
        else r = (args.bySum != 0 ? v : exp(v - top)) / sum;
        storeRowT(y, i, width, wide, r);
    }
}
