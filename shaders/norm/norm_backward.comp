#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "common/octs.glsl"
#include "common/lanes.glsl"
// Backward of norm.comp. With x̂ = (s - mean)·rstd, n = x̂·weight + bias, dn = dy (· act(gate) if GATE_AFTER), u = dn·weight:
//   ds = (u - x̂·invCount·Σ x̂u - invCount·Σ u)·rstd, the last term only if SUBTRACT_MEAN;    dx = ds + dsum, (ds + dsum)·act(gate) if GATE_BEFORE
//   dgate = dy·n·act'(gate), or (ds + dsum)·x·act'(gate)
//   dweight = Σ dn·x̂ and dbias = Σ dn over the rows of a group: as they are passed, one partial sum a slot [slots, width], fp32, for another kernel to add up
// A slot is the invocations that a row has; it takes every slots-th row, and their number is a multiple of the groups', so that all are of one group.
layout(push_constant, scalar) uniform Args {
    AnyBuf dy;
    AnyBuf s;           // the input of the norm: x, or x + residual; x before the gate if GATE_BEFORE
    AnyBuf gate;
    AnyBuf weight;
    AnyBuf bias;
    F32Buf stats;
    AnyBuf dsum;
    AnyBuf dx;
    AnyBuf dresidual;   // dx again, in another type
    AnyBuf dgate;
    F32Buf dweight;
    F32Buf dbias;
    uint rows;
    uint width;
    uint groups;
    uint slots;
    float invCount;
} args;

layout(local_size_x_id = 0) in;

#include "norm/rows.glsl"

Oct dy[PIECES], s[PIECES], gate[PIECES], dsum[PIECES], weight[CHUNKS], bias[CHUNKS];
float rstd[ROWS], mean[ROWS];

void loadTurn(uint rows[ROWS], uint lane, uint start) {
    [[unroll]] for (uint p = 0; p < PIECES; p++) {
        uint i = columnOf(p, lane, start);
        uint64_t at = uint64_t(rows[p / CHUNKS]) * args.width;
        s[p] = load(args.s, SUM, at, i);
        dy[p] = load(args.dy, GRADIENT, at, i);
        if (has(GATE_BEFORE) || has(GATE_AFTER)) gate[p] = load(args.gate, INPUT, at, i);
        if (has(HAS_SUM)) dsum[p] = load(args.dsum, SUM_GRADIENT, at, i);
    }
}

void loadParameters(uint group, uint lane, uint start) {
    [[unroll]] for (uint p = 0; p < CHUNKS; p++) {
        if (has(HAS_WEIGHT)) weight[p] = load(args.weight, WEIGHT, uint64_t(group) * args.width, columnOf(p, lane, start));
        if (has(HAS_BIAS)) bias[p] = load(args.bias, BIAS, uint64_t(group) * args.width, columnOf(p, lane, start));
    }
}

vec4 weightOf(uint p, uint e) { return has(HAS_WEIGHT) ? quad(weight[p % CHUNKS], WEIGHT, e) : vec4(1); }

vec4 normed(uint p, uint e) {
    vec4 raw = quad(s[p], SUM, e);
    return ((has(GATE_BEFORE) ? raw * gateOf(quad(gate[p], INPUT, e)) : raw) - mean[p / CHUNKS]) * rstd[p / CHUNKS];
}

vec4 gradient(uint p, uint e) {
    vec4 dn = quad(dy[p], GRADIENT, e);
    return has(GATE_AFTER) ? dn * gateOf(quad(gate[p], INPUT, e)) : dn;
}

// Adds to a partial sum in memory, from the second row on.
void addTo(F32Buf sums, uint slot, uint i, bool isFirst, vec4 x[2]) {
    AnyBuf row = AnyBuf(uint64_t(atF(sums, uint64_t(slot) * args.width)));
    if (!isFirst) {
        Oct before = loadOct(row, 0, i, args.width, has(WIDE));
        [[unroll]] for (uint e = 0; e < 2; e++) x[e] += quadOf(before, 0, e);
    }
    storeOct(row, 0, i, args.width, has(WIDE), x[0], x[1]);
}

void main() {
    uint wg = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint lane = laneSlot() % LANES, slot = wg * (gl_WorkGroupSize.x / LANES) + laneSlot() / LANES;
    bool isSlot = slot < args.slots;
    uint group = slot % args.groups;
    loadParameters(group, lane, 0);
    vec4 dweight[CHUNKS * 2], dbias[CHUNKS * 2];
    [[unroll]] for (uint p = 0; p < CHUNKS * 2; p++) dweight[p] = dbias[p] = vec4(0);

    [[dont_unroll]] for (uint base = 0; base < args.rows; base += args.slots * ROWS) {
        uint rows[ROWS];
        bool isRow[ROWS];
        float sumXu[ROWS], sumU[ROWS];
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            uint row = base + r * args.slots + slot;
            isRow[r] = isSlot && row < args.rows;
            rows[r] = min(row, args.rows - 1);
            rstd[r] = args.stats.v[rows[r]];
            mean[r] = has(SUBTRACT_MEAN) ? args.stats.v[args.rows + rows[r]] : 0.0;
            sumXu[r] = sumU[r] = 0;
        }
        vec4 dns[PIECES * 2];       // dn where it has a gate: exponentials are dear
        // A loop whose turns no compiler can count, though a row that is not long has but one: what follows unpacks again what this unpacks, and kept from here to there it would
        // take twice the registers.
        [[dont_unroll]] for (uint start = 0; start < args.width; start += TURN) {
            loadTurn(rows, lane, start);
            if (has(LONG)) loadParameters(group, lane, start);
            [[unroll]] for (uint p = 0; p < PIECES; p++) {
                uint i = columnOf(p, lane, start);
                vec4 dgate[2];
                [[unroll]] for (uint e = 0; e < 2; e++) {
                    vec4 x = normed(p, e), dn = quad(dy[p], GRADIENT, e);
                    if (has(GATE_AFTER)) {
                        vec4 g = quad(gate[p], INPUT, e), s_ = sigmoid(g), n = x * weightOf(p, e);
                        if (has(HAS_BIAS)) n += quad(bias[p % CHUNKS], BIAS, e);
                        dgate[e] = dn * n * actSlope(g, s_);
                        dn *= act(g, s_);
                        dns[2 * p + e] = dn;
                    }
                    vec4 u = dn * weightOf(p, e) * inside(i + 4 * e);
                    sumXu[p / CHUNKS] += dot(x, u);
                    sumU[p / CHUNKS] += dot(u, vec4(1));
                }
                if (has(GATE_AFTER) && has(HAS_DGATE) && isRow[p / CHUNKS]) store(args.dgate, INPUT, uint64_t(rows[p / CHUNKS]) * args.width, i, dgate);
            }
        }
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            sumXu[r] = laneSum(sumXu[r], LANES) * args.invCount;
            sumU[r] = has(SUBTRACT_MEAN) ? laneSum(sumU[r], LANES) * args.invCount : 0.0;
        }
        [[dont_unroll]] for (uint start = 0; start < ROW_END; start += TURN) {
            if (has(LONG)) {
                loadTurn(rows, lane, start);
                loadParameters(group, lane, start);
            }
            [[unroll]] for (uint r = 0; r < ROWS; r++) {
                if (!isRow[r]) continue;
                uint64_t at = uint64_t(rows[r]) * args.width;
                [[unroll]] for (uint q = 0; q < CHUNKS; q++) {
                    uint p = r * CHUNKS + q, i = columnOf(p, lane, start);
                    vec4 dx[2], dgate[2], w[2], b[2];
                    [[unroll]] for (uint e = 0; e < 2; e++) {
                        vec4 x = normed(p, e), dn = has(LONG) || !has(GATE_AFTER) ? gradient(p, e) : dns[2 * p + e], ds = (dn * weightOf(p, e) - x * sumXu[r] - sumU[r]) * rstd[r];
                        if (has(HAS_SUM)) ds += quad(dsum[p], SUM_GRADIENT, e);
                        if (has(GATE_BEFORE)) {
                            vec4 g = quad(gate[p], INPUT, e), s_ = sigmoid(g);
                            dgate[e] = ds * quad(s[p], SUM, e) * actSlope(g, s_);
                            ds *= act(g, s_);
                        }
                        dx[e] = ds;
                        w[e] = dn * x;
                        b[e] = dn;
                        if (!has(LONG)) {
                            dweight[2 * q + e] += w[e];
                            dbias[2 * q + e] += b[e];
                        }
                    }
                    store(args.dx, INPUT, at, i, dx);
                    if (has(HAS_RESIDUAL)) store(args.dresidual, RESIDUAL, at, i, dx);
                    if (has(GATE_BEFORE) && has(HAS_DGATE)) store(args.dgate, INPUT, at, i, dgate);
                    if (has(LONG) && has(HAS_DWEIGHT)) addTo(args.dweight, slot, i, base + r == 0, w);
                    if (has(LONG) && has(HAS_DBIAS)) addTo(args.dbias, slot, i, base + r == 0, b);
                }
            }
        }
    }

    if (has(LONG) || !isSlot) return;
    [[unroll]] for (uint q = 0; q < CHUNKS; q++) {
        uint i = columnOf(q, lane, 0);
        if (has(HAS_DWEIGHT)) storeOct(AnyBuf(uint64_t(atF(args.dweight, uint64_t(slot) * args.width))), 0, i, args.width, has(WIDE), dweight[2 * q], dweight[2 * q + 1]);
        if (has(HAS_DBIAS)) storeOct(AnyBuf(uint64_t(atF(args.dbias, uint64_t(slot) * args.width))), 0, i, args.width, has(WIDE), dbias[2 * q], dbias[2 * q + 1]);
    }
}
