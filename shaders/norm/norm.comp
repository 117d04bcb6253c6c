#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "common/octs.glsl"
#include "common/lanes.glsl"
// Every norm, over rows of `width` elements of x [rows, width]; weight and bias [groups, width], row r uses group r % groups.
//   s = x (+ residual)         s·act(gate) if GATE_BEFORE;   sum = s when wanted
//   ŷ = (s - mean) · rstd      mean 0 unless SUBTRACT_MEAN, rstd = 1/√(invCount·Σ(s - mean)² + eps); invCount 1/width, or 1 for the l2 norm
//   y = ŷ·weight + bias        · act(gate) if GATE_AFTER
// stats: rstd [rows], then mean [rows].
layout(push_constant, scalar) uniform Args {
    AnyBuf x;
    AnyBuf residual;
    AnyBuf weight;
    AnyBuf bias;
    AnyBuf gate;
    AnyBuf y;
    AnyBuf sum;
    F32Buf stats;
    uint rows;
    uint width;
    uint groups;
    float invCount;
    float eps;
} args;

layout(local_size_x_id = 0) in;

#include "norm/rows.glsl"

Oct x[PIECES], residual[PIECES], gate[PIECES], weight[PIECES], bias[PIECES];

uint rowOf(uint first, uint p) { return min(first + p / CHUNKS, args.rows - 1); }

void loadTurn(uint first, uint lane, uint start) {
    [[unroll]] for (uint p = 0; p < PIECES; p++) {
        uint i = columnOf(p, lane, start), row = rowOf(first, p);
        uint64_t at = uint64_t(row) * args.width;
        x[p] = load(args.x, INPUT, at, i);
        if (has(HAS_RESIDUAL)) residual[p] = load(args.residual, RESIDUAL, at, i);
        if (has(GATE_BEFORE) || has(GATE_AFTER)) gate[p] = load(args.gate, INPUT, at, i);
    }
    [[unroll]] for (uint p = 0; p < (has(GROUPED) ? PIECES : CHUNKS); p++) {
        uint i = columnOf(p, lane, start);
        uint64_t column = uint64_t(rowOf(first, p) % args.groups) * args.width;
        if (has(HAS_WEIGHT)) weight[p] = load(args.weight, WEIGHT, column, i);
        if (has(HAS_BIAS)) bias[p] = load(args.bias, BIAS, column, i);
    }
}

vec4 summed(uint p, uint e) {
    vec4 s = quad(x[p], INPUT, e);
    if (has(HAS_RESIDUAL)) s += quad(residual[p], RESIDUAL, e);
    if (has(GATE_BEFORE)) s *= gateOf(quad(gate[p], INPUT, e));
    return s;
}

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint lane = laneSlot() % LANES, first = (group * (gl_WorkGroupSize.x / LANES) + laneSlot() / LANES) * ROWS;

    float total[ROWS], mean[ROWS];
    [[unroll]] for (uint r = 0; r < ROWS; r++) total[r] = mean[r] = 0;
    [[dont_unroll]] for (uint start = 0; start < ROW_END; start += TURN) {
        loadTurn(first, lane, start);
        [[unroll]] for (uint p = 0; p < PIECES; p++) {
            [[unroll]] for (uint e = 0; e < 2; e++) {
                vec4 s = summed(p, e) * inside(columnOf(p, lane, start) + 4 * e);
                total[p / CHUNKS] += has(SUBTRACT_MEAN) ? dot(s, vec4(1)) : dot(s, s);
            }
        }
    }
    [[unroll]] for (uint r = 0; r < ROWS; r++) total[r] = laneSum(total[r], LANES);
    if (has(SUBTRACT_MEAN)) {
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            mean[r] = total[r] * args.invCount;
            total[r] = 0;
        }
        [[dont_unroll]] for (uint start = 0; start < ROW_END; start += TURN) {
            if (has(LONG)) loadTurn(first, lane, start);
            [[unroll]] for (uint p = 0; p < PIECES; p++) {
                [[unroll]] for (uint e = 0; e < 2; e++) {
                    vec4 s = (summed(p, e) - mean[p / CHUNKS]) * inside(columnOf(p, lane, start) + 4 * e);
                    total[p / CHUNKS] += dot(s, s);
                }
            }
        }
        [[unroll]] for (uint r = 0; r < ROWS; r++) total[r] = laneSum(total[r], LANES);
    }
    float rstd[ROWS];
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        rstd[r] = 1.0 / sqrt(total[r] * args.invCount + args.eps);
        if (has(HAS_STATS) && lane == 0 && first + r < args.rows) {
            args.stats.v[first + r] = rstd[r];
            if (has(SUBTRACT_MEAN)) args.stats.v[args.rows + first + r] = mean[r];
        }
    }

    [[dont_unroll]] for (uint start = 0; start < ROW_END; start += TURN) {
        if (has(LONG)) loadTurn(first, lane, start);
        [[unroll]] for (uint p = 0; p < PIECES; p++) {
            uint i = columnOf(p, lane, start), row = first + p / CHUNKS, q = has(GROUPED) ? p : p % CHUNKS;
            if (row >= args.rows) continue;
            vec4 s[2], n[2];
            [[unroll]] for (uint e = 0; e < 2; e++) {
                s[e] = summed(p, e);
                n[e] = (s[e] - mean[p / CHUNKS]) * rstd[p / CHUNKS];
                if (has(HAS_WEIGHT)) n[e] *= quad(weight[q], WEIGHT, e);
                if (has(HAS_BIAS)) n[e] += quad(bias[q], BIAS, e);
                if (has(GATE_AFTER)) n[e] *= gateOf(quad(gate[p], INPUT, e));
            }
            if (has(HAS_SUM)) store(args.sum, SUM, uint64_t(row) * args.width, i, s);
            store(args.y, OUTPUT, uint64_t(row) * args.width, i, n);
        }
    }
}
