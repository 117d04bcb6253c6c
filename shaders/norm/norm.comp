#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "common/lanes.glsl"
// Every norm, over rows of `width` elements of x [rows, width]; weight and bias [groups, width], row r uses group r % groups.
//   s = x (+ residual)         s·act(gate) if GATE_BEFORE;   sum = s when wanted
//   ŷ = (s - mean) · rstd      mean 0 unless SUBTRACT_MEAN, rstd = 1/√(invCount·Σ(s - mean)² + eps); invCount 1/width, or 1 for the l2 norm
//   y = ŷ·weight + bias        · act(gate) if GATE_AFTER
// stats: rstd [rows], then mean [rows]. Each row has `lanes` invocations.
layout(push_constant, scalar) uniform Args {
    TBuf x;
    AnyBuf residual;
    AnyBuf weight;
    AnyBuf bias;
    TBuf gate;
    AnyBuf y;
    AnyBuf sum;
    F32Buf stats;
    uint rows;
    uint width;
    uint groups;
    uint lanes;
    uint flags;
    uint types;
    float invCount;
    float eps;
} args;

layout(local_size_x_id = 0) in;

#include "norm/rows.glsl"

vec4 summed(TBuf x, AnyBuf residual, TBuf gate, uint i) {
    vec4 s = rowT(x, i, args.width, has(WIDE));
    if (!isNull(args.residual)) s += rowAny(residual, typeOf(RESIDUAL), i, args.width, has(WIDE));
    if (has(GATE_BEFORE)) s *= act(rowT(gate, i, args.width, has(WIDE)));
    return s;
}

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint lane = laneSlot() % args.lanes;
    uint row = group * (gl_WorkGroupSize.x / args.lanes) + laneSlot() / args.lanes;
    uint end = row < args.rows ? args.width : 0;
    uint64_t start = uint64_t(row) * args.width;
    TBuf x = atT(args.x, start);
    AnyBuf residual = atAny(args.residual, typeOf(RESIDUAL), start);
    TBuf gate = atT(args.gate, start);
    AnyBuf y = atAny(args.y, typeOf(OUTPUT), start);
    AnyBuf sum = atAny(args.sum, typeOf(SUM), start);

    float total = 0;
    for (uint i = lane * 4; i < end; i += args.lanes * 4) {
        vec4 s = summed(x, residual, gate, i);
        if (!isNull(args.sum)) storeRowAny(sum, typeOf(SUM), i, args.width, has(WIDE), s);
        total += has(SUBTRACT_MEAN) ? dot(s, vec4(1)) : dot(s, s);
    }
    total = laneSum(total, args.lanes);
    float mean = 0;
    if (has(SUBTRACT_MEAN)) {
        mean = total * args.invCount;
        float squares = 0;
        for (uint i = lane * 4; i < end; i += args.lanes * 4) {
            vec4 s = (summed(x, residual, gate, i) - mean) * inRow(i);
            squares += dot(s, s);
        }
        total = laneSum(squares, args.lanes);
    }
    float rstd = 1.0 / sqrt(total * args.invCount + args.eps);
    if (lane == 0 && row < args.rows && !isNull(args.stats)) {
        args.stats.v[row] = rstd;
        if (has(SUBTRACT_MEAN)) args.stats.v[args.rows + row] = mean;
    }

    uint column = row % args.groups * args.width;
    AnyBuf weight = atAny(args.weight, typeOf(WEIGHT), column);
    AnyBuf bias = atAny(args.bias, typeOf(BIAS), column);
    for (uint i = lane * 4; i < end; i += args.lanes * 4) {
        vec4 n = (summed(x, residual, gate, i) - mean) * rstd;
        if (!isNull(args.weight)) n *= rowAny(weight, typeOf(WEIGHT), i, args.width, has(WIDE));
        if (!isNull(args.bias)) n += rowAny(bias, typeOf(BIAS), i, args.width, has(WIDE));
        if (has(GATE_AFTER)) n *= act(rowT(gate, i, args.width, has(WIDE)));
        storeRowAny(y, typeOf(OUTPUT), i, args.width, has(WIDE), n);
    }
}
