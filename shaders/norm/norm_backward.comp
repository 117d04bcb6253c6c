#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "common/lanes.glsl"
// Backward of norm.comp. With x̂ = (s - mean)·rstd, n = x̂·weight + bias, dn = dy (· act(gate) if GATE_AFTER), u = dn·weight:
//   ds = (u - x̂·invCount·Σ x̂u - invCount·Σ u)·rstd, the last term only if SUBTRACT_MEAN;    dx = ds + dsum, (ds + dsum)·act(gate) if GATE_BEFORE
//   dgate = dy·n·act'(gate), or ds·x·act'(gate);   dweight = Σ dn·x̂;   dbias = Σ dn
// Row q·groups + g belongs to group g. Workgroup (block, g) walks the rows of group g and leaves partial sums over them in
// dweight, dbias [blocks, groups, width]; another pass adds those up. The sums stay in shared memory while they fit, else in the result itself.
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
    F32Buf dweight;
    F32Buf dbias;
    uint rows;          // of one group
    uint width;
    uint groups;
    uint blocks;
    uint lanes;
    uint flags;
    uint types;
    float invCount;
} args;

layout(local_size_x_id = 0) in;

#include "norm/rows.glsl"

const uint ACCUMULATORS = 6144;
const uint DSUM = 20, DY = 24;
shared float accumulator[ACCUMULATORS];

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint block = group % args.blocks;
    uint g = group / args.blocks;
    if (g >= args.groups) return;
    uint width = args.width;
    bool wide = has(WIDE);
    uint lane = laneSlot() % args.lanes;
    uint segment = laneSlot() / args.lanes;
    uint segments = gl_WorkGroupSize.x / args.lanes;
    uint half_ = isNull(args.dbias) ? 0 : segments * width;
    bool wantsSums = !isNull(args.dweight) || !isNull(args.dbias);
    bool isShared = segments * width + half_ <= ACCUMULATORS;
    uint64_t column = (uint64_t(block) * args.groups + g) * width;
    F32Buf dweight = atF(args.dweight, column);
    F32Buf dbias = atF(args.dbias, column);
    AnyBuf weight = atAny(args.weight, typeOf(WEIGHT), g * width);
    AnyBuf bias = atAny(args.bias, typeOf(BIAS), g * width);

    // Each invocation zeroes and later adds to the columns that are its own.
    if (wantsSums) {
        for (uint i = lane * 4; i < width; i += args.lanes * 4) {
            for (uint k = 0; k < 4 && i + k < width; ++k) {
                if (isShared) {
                    accumulator[segment * width + i + k] = 0;
                    if (half_ > 0) accumulator[half_ + segment * width + i + k] = 0;
                } else {
                    if (!isNull(args.dweight)) dweight.v[i + k] = 0;
                    if (!isNull(args.dbias)) dbias.v[i + k] = 0;
                }
            }
        }
    }

    for (uint first = block * segments; first < args.rows; first += args.blocks * segments) {
        bool isRow = first + segment < args.rows;
        uint row = (first + segment) * args.groups + g;
        uint end = isRow ? width : 0;
        uint64_t start = uint64_t(row) * width;
        AnyBuf dy = atAny(args.dy, typeOf(DY), start);
        AnyBuf s = atAny(args.s, typeOf(SUM), start);
        TBuf gate = atT(args.gate, start);
        float rstd = args.stats.v[isRow ? row : 0];
        float mean = args.stats.v[isRow && has(SUBTRACT_MEAN) ? args.rows * args.groups + row : 0] * (has(SUBTRACT_MEAN) ? 1.0 : 0.0);

        float sumXu = 0, sumU = 0;
        for (uint i = lane * 4; i < end; i += args.lanes * 4) {
            vec4 dn = rowAny(dy, typeOf(DY), i, width, wide);
            vec4 x = rowAny(s, typeOf(SUM), i, width, wide);
            if (has(GATE_BEFORE)) x *= act(rowT(gate, i, width, wide));
            x = (x - mean) * rstd * inRow(i);
            vec4 w = isNull(args.weight) ? vec4(1) : rowAny(weight, typeOf(WEIGHT), i, width, wide);
            if (has(GATE_AFTER)) {
                vec4 a = rowT(gate, i, width, wide);
                if (!isNull(args.dgate)) {
                    vec4 n = x * w;
                    if (!isNull(args.bias)) n += rowAny(bias, typeOf(BIAS), i, width, wide);
                    storeRowT(atT(args.dgate, start), i, width, wide, dn * n * actSlope(a));
                }
                dn *= act(a);
            }
            sumXu += dot(x, dn * w);
            sumU += dot(dn, w);
            if (wantsSums) {
                for (uint k = 0; k < 4 && i + k < width; ++k) {
                    if (isShared) {
                        accumulator[segment * width + i + k] += dn[k] * x[k];
                        if (half_ > 0) accumulator[half_ + segment * width + i + k] += dn[k];
                    } else {
                        if (!isNull(args.dweight)) dweight.v[i + k] += dn[k] * x[k];
                        if (!isNull(args.dbias)) dbias.v[i + k] += dn[k];
                    }
                }
            }
        }
        sumXu = laneSum(sumXu, args.lanes) * args.invCount;
        sumU = has(SUBTRACT_MEAN) ? laneSum(sumU, args.lanes) * args.invCount : 0;
        for (uint i = lane * 4; i < end; i += args.lanes * 4) {
            vec4 raw = rowAny(s, typeOf(SUM), i, width, wide);
            vec4 a = has(GATE_AFTER) || has(GATE_BEFORE) ? rowT(gate, i, width, wide) : vec4(0);
            vec4 x = ((has(GATE_BEFORE) ? raw * act(a) : raw) - mean) * rstd;
            vec4 u = rowAny(dy, typeOf(DY), i, width, wide);
            if (has(GATE_AFTER)) u *= act(a);
            if (!isNull(args.weight)) u *= rowAny(weight, typeOf(WEIGHT), i, width, wide);
            vec4 ds = (u - x * sumXu - sumU) * rstd;
            if (!isNull(args.dsum)) ds += rowAny(atAny(args.dsum, typeOf(DSUM), start), typeOf(DSUM), i, width, wide);
            if (has(GATE_BEFORE)) {
                if (!isNull(args.dgate)) storeRowT(atT(args.dgate, start), i, width, wide, ds * raw * actSlope(a));
                ds *= act(a);
            }
            if (!isNull(args.dx)) storeRowT(atT(args.dx, start), i, width, wide, ds);
            if (!isNull(args.dresidual)) storeRowAny(atAny(args.dresidual, typeOf(RESIDUAL), start), typeOf(RESIDUAL), i, width, wide, ds);
        }
    }
    if (!wantsSums || !isShared) return;
    barrier();
    for (uint i = laneSlot(); i < width; i += gl_WorkGroupSize.x) {
        float w = 0, b = 0;
        for (uint k = 0; k < segments; ++k) {
            w += accumulator[k * width + i];
            if (half_ > 0) b += accumulator[half_ + k * width + i];
        }
        if (!isNull(args.dweight)) dweight.v[i] = w;
        if (half_ > 0) dbias.v[i] = b;
    }
}
