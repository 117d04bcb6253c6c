#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "common/lanes.glsl"
// Backward of norm.comp, all but the parameters. With x̂ = (s - mean)·rstd, n = x̂·weight + bias, dn = dy (· act(gate) if GATE_AFTER), u = dn·weight:
//   ds = (u - x̂·invCount·Σ x̂u - invCount·Σ u)·rstd, the last term only if SUBTRACT_MEAN;    dx = ds + dsum, (ds + dsum)·act(gate) if GATE_BEFORE
//   dgate = dy·n·act'(gate), or (ds + dsum)·x·act'(gate)
layout(push_constant, scalar) uniform Args {
    AnyBuf dy;
    AnyBuf s;           // the input of the norm: x, or x + residual; x before the gate if GATE_BEFORE
    TBuf gate;
    AnyBuf weight;
    AnyBuf bias;
    F32Buf stats;
    AnyBuf dsum;
    TBuf dx;
    AnyBuf dresidual;   // dx again, in another type
    TBuf dgate;
    uint rows;
    uint width;
    uint groups;
    uint lanes;
    uint flags;
    uint types;
    float invCount;
} args;

layout(local_size_x_id = 0) in;

#include "norm/rows.glsl"

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint width = args.width;
    bool wide = has(WIDE);
    bool hasGate = has(GATE_BEFORE) || has(GATE_AFTER);
    uint lane = laneSlot() % args.lanes;
    uint place = group * (gl_WorkGroupSize.x / args.lanes) + laneSlot() / args.lanes;
    bool isRow = place < args.rows;
    uint row = isRow ? place : 0;
    uint end = isRow ? width : 0;
    uint64_t start = uint64_t(row) * width;
    uint column = row % args.groups * width;
    AnyBuf dy = atAny(args.dy, typeOf(GRADIENT), start);
    AnyBuf s = atAny(args.s, typeOf(SUM), start);
    TBuf gate = atT(args.gate, start);
    AnyBuf weight = atAny(args.weight, typeOf(WEIGHT), column);
    AnyBuf bias = atAny(args.bias, typeOf(BIAS), column);
    TBuf dgate = atT(args.dgate, start);
    float rstd = args.stats.v[row];
    float mean = meanOf(row, args.rows);

    float sumXu = 0, sumU = 0;
    for (uint i = lane * 4; i < end; i += args.lanes * 4) {
        vec4 dn = rowAny(dy, typeOf(GRADIENT), i, width, wide);
        vec4 raw = rowAny(s, typeOf(SUM), i, width, wide);
        vec4 a = hasGate ? rowT(gate, i, width, wide) : vec4(0);
        vec4 x = ((has(GATE_BEFORE) ? raw * act(a) : raw) - mean) * rstd * inRow(i);
        vec4 w = isNull(args.weight) ? vec4(1) : rowAny(weight, typeOf(WEIGHT), i, width, wide);
        if (has(GATE_AFTER)) {
            if (!isNull(args.dgate)) {
                vec4 n = x * w;
                if (!isNull(args.bias)) n += rowAny(bias, typeOf(BIAS), i, width, wide);
                storeRowT(dgate, i, width, wide, dn * n * actSlope(a));
            }
            dn *= act(a);
        }
        sumXu += dot(x, dn * w);
        sumU += dot(dn, w);
    }
    sumXu = laneSum(sumXu, args.lanes) * args.invCount;
    sumU = has(SUBTRACT_MEAN) ? laneSum(sumU, args.lanes) * args.invCount : 0;
    for (uint i = lane * 4; i < end; i += args.lanes * 4) {
        vec4 raw = rowAny(s, typeOf(SUM), i, width, wide);
        vec4 a = hasGate ? rowT(gate, i, width, wide) : vec4(0);
        vec4 x = ((has(GATE_BEFORE) ? raw * act(a) : raw) - mean) * rstd;
        vec4 u = rowAny(dy, typeOf(GRADIENT), i, width, wide);
        if (has(GATE_AFTER)) u *= act(a);
        if (!isNull(args.weight)) u *= rowAny(weight, typeOf(WEIGHT), i, width, wide);
        vec4 ds = (u - x * sumXu - sumU) * rstd;
        if (!isNull(args.dsum)) ds += rowAny(atAny(args.dsum, typeOf(SUM_GRADIENT), start), typeOf(SUM_GRADIENT), i, width, wide);
        if (has(GATE_BEFORE)) {
            if (!isNull(args.dgate)) storeRowT(dgate, i, width, wide, ds * raw * actSlope(a));
            ds *= act(a);
        }
        storeRowT(atT(args.dx, start), i, width, wide, ds);
        if (!isNull(args.dresidual)) storeRowAny(atAny(args.dresidual, typeOf(RESIDUAL), start), typeOf(RESIDUAL), i, width, wide, ds);
    }
}
