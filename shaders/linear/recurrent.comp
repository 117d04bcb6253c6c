// RECUR: the additive memory, one token at a time. For each sequence and head, with S a K x V matrix in registers:
//   S <- decay(S) + writeScale w x^T;  o = scale S^T r;  decay(S) = e^g e^gamma diag(e^gk) S diag(e^gv)
// With decayAfter the decay comes after the read: a reverse walk then carries the gradient of the state.
// r, w [tokens, H, K]; x, o [tokens, H, V]; g [tokens, H], gamma [H] or a kind (decay.glsl), gk [tokens, H, K], gv [tokens, H, V]; each may be null.
// h0 and ht [N, H, K, V] fp32 (transposed: [N, H, V, K]); null is zero, or not wanted. They may be the same memory.
// Forward: r, w, x = q, k, v. Backward is the same walk: dq from (do, v, k) with gk and gv exchanged and the state transposed,
// dv in reverse with decayAfter from (k, q, do), dk likewise from (v, do, q).
// With RANK, gk is the product of two matrices (Yang et al. 2023): logσ(gv gk + gamma)·decayKind with gk [tokens, RANK], gv [H K, RANK], gamma [H K] of type T.
// One workgroup holds all rows of COLUMNS columns of S: thread (group, column) holds ROWS rows of one column.
// @variants T=f32|f16|bf16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "elementwise/functions.glsl"
#include "linear/decay.glsl"
#include "linear/sequences.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf r; TBuf w; TBuf x; F32Buf o; F32Buf g; F32Buf gamma; F32Buf gk; F32Buf gv; F32Buf h0; F32Buf ht; I32Buf packed;
    uint T; uint H; uint K; uint V; uint groups; float scale; float writeScale; float decayKind;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ROWS = 16;              // K <= 8 ROWS
layout(constant_id = 2) const uint FLAGS = 0;
layout(constant_id = 3) const uint RANK = 0;               // a multiple of 4

const uint REVERSE = 1, DECAY_AFTER = 2, TRANSPOSED = 4, OUTPUT_F32 = 8, GATES_F32 = 16, HAS_H0 = 32, HAS_G = 64, HAS_GK = 128, HAS_GV = 256;
const uint QUADS = 512;                                    // K is a multiple of 4
const uint COLUMNS = 32, GROUPS = 8, TOKENS = 4;

shared float sr[TOKENS][GROUPS * ROWS];
shared float sw[TOKENS][GROUPS * ROWS];
shared float sk[TOKENS][GROUPS * ROWS];                    // decay of a row, with the head's
shared float sx[TOKENS][COLUMNS];
shared float sv[TOKENS][COLUMNS];                          // decay of a column
shared float part[TOKENS][GROUPS][COLUMNS];

bool has(uint flag) { return (FLAGS & flag) != 0; }

uint rawGate(F32Buf p, uint64_t i) { return has(GATES_F32) ? floatBitsToUint(atF(p, i).v[0]) : rawT(atT(TBuf(uint64_t(p)), i), 0); }
float gate(uint raw) { return has(GATES_F32) ? uintBitsToFloat(raw) : valueT(raw); }

// Rows first to first + ROWS of a column of the state. Indices past the ends are clamped: what is read there meets zeros, and is not stored. All loads are under
// way before one is used.
void loadState(uint64_t base, uint first, uint column, out float S[ROWS]) {
    column = min(column, args.V - 1);
    if (has(TRANSPOSED) && has(QUADS)) {
        [[unroll]] for (uint j = 0; j < ROWS; j += 4) {
            vec4 x = load4F(atF(args.h0, base), column * args.K + min(first + j, args.K - 4));
            [[unroll]] for (uint e = 0; e < 4; e++) S[j + e] = x[e];
        }
    } else {
        [[unroll]] for (uint j = 0; j < ROWS; j++) {
            uint row = min(first + j, args.K - 1);
            S[j] = atF(args.h0, base).v[has(TRANSPOSED) ? column * args.K + row : row * args.V + column];
        }
    }
}

const uint RANK_QUADS = RANK == 0 ? 1 : RANK / 4;

void main() {
    uint tiles = (args.V + COLUMNS - 1) / COLUMNS;
    uint wg = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    if (wg >= args.groups) return;
    uint tile = wg % tiles, head = (wg / tiles) % args.H, n = wg / tiles / args.H;
    uint K = args.K, V = args.V, tid = gl_LocalInvocationID.x;
    uint lane = tid % COLUMNS, group = tid / COLUMNS, column = tile * COLUMNS + lane;
    bool reverse = has(REVERSE), after = has(DECAY_AFTER);
    float headGate = RANK > 0 ? 0.0 : headDecay(args.gamma, args.decayKind, head);
    uint64_t base = (uint64_t(n) * args.H + head) * K * V;

    float S[ROWS];
    [[unroll]] for (uint j = 0; j < ROWS; j++) S[j] = 0;
    if (has(HAS_H0)) loadState(base, group * ROWS, column, S);

    Span tokens = sequenceSpan(args.packed, n, args.T);
    [[dont_unroll]] for (uint t0 = 0; t0 < tokens.count; t0 += TOKENS) {
        uint count = min(TOKENS, tokens.count - t0);
        for (uint i = tid; i < count * GROUPS * ROWS; i += gl_WorkGroupSize.x) {
            uint t = i / (GROUPS * ROWS), k = i % (GROUPS * ROWS);
            uint token = tokens.first + (reverse ? tokens.count - 1 - t0 - t : t0 + t);
            uint64_t at = uint64_t(token) * args.H + head;
            bool inside = k < K;
            uint64_t channel = at * K + min(k, K - 1);
            uint r = rawT(atT(args.r, channel), 0), w = rawT(atT(args.w, channel), 0), g = 0, gk = 0;
            if (has(HAS_G)) g = rawGate(args.g, at);
            if (has(HAS_GK)) gk = rawGate(args.gk, channel);
            Raw4T up[RANK_QUADS], low[RANK_QUADS];
            uint bias = 0, row = head * K + min(k, K - 1);
            if (RANK > 0) {
                [[unroll]] for (uint j = 0; j < RANK_QUADS; j++) {
                    up[j] = raw4T(TBuf(uint64_t(args.gv)), row * RANK + 4 * j);
                    low[j] = raw4T(TBuf(uint64_t(args.gk)), token * RANK + 4 * j);
                }
                bias = rawT(TBuf(uint64_t(args.gamma)), row);
            }
            sr[t][k] = inside ? valueT(r) : 0.0;
            sw[t][k] = inside ? valueT(w) : 0.0;
            float decay = headGate;
            if (has(HAS_G)) decay += gate(g);
            if (has(HAS_GK)) decay += inside ? gate(gk) : 0.0;
            if (RANK > 0) {
                float z = valueT(bias);
                [[unroll]] for (uint j = 0; j < RANK_QUADS; j++) z += dot(value4T(up[j]), value4T(low[j]));
                decay -= softplus(-z) * args.decayKind;
            }
            sk[t][k] = exp(decay);
        }
        // The last subgroups begin here, as the first ones do above.
        for (uint i = gl_WorkGroupSize.x - 1 - tid; i < count * COLUMNS; i += gl_WorkGroupSize.x) {
            uint t = i / COLUMNS, v = tile * COLUMNS + i % COLUMNS;
            uint token = tokens.first + (reverse ? tokens.count - 1 - t0 - t : t0 + t);
            uint64_t channel = (uint64_t(token) * args.H + head) * V + min(v, V - 1);
            uint x = rawT(atT(args.x, channel), 0), gv = 0;
            if (has(HAS_GV)) gv = rawGate(args.gv, channel);
            sx[t][i % COLUMNS] = v < V ? args.writeScale * valueT(x) : 0.0;
            sv[t][i % COLUMNS] = has(HAS_GV) && v < V ? exp(gate(gv)) : 1.0;
        }
        barrier();
        [[dont_unroll]] for (uint t = 0; t < count; t++) {
            float x = sx[t][lane], columnDecay = sv[t][lane], sum = 0;
            for (uint j = 0; j < ROWS; j++) {
                uint k = group * ROWS + j;
                float decay = sk[t][k] * columnDecay;
                float s = (after ? S[j] : S[j] * decay) + sw[t][k] * x;
                sum += s * sr[t][k];
                S[j] = after ? s * decay : s;
            }
            part[t][group][lane] = sum;
        }
        barrier();
        if (group < count && column < V) {
            float sum = 0;
            for (uint i = 0; i < GROUPS; i++) sum += part[group][i][lane];
            uint token = tokens.first + (reverse ? tokens.count - 1 - t0 - group : t0 + group);
            uint64_t at = (uint64_t(token) * args.H + head) * V;
            if (has(OUTPUT_F32)) atF(args.o, at).v[column] = args.scale * sum;
            else storeT(atT(TBuf(uint64_t(args.o)), at), column, args.scale * sum);
        }
    }

    if (isNull(args.ht) || column >= V) return;
    if (has(TRANSPOSED) && has(QUADS)) {
        [[unroll]] for (uint j = 0; j < ROWS; j += 4) {
            uint row = group * ROWS + j;
            if (row < K) store4F(atF(args.ht, base), column * K + row, vec4(S[j], S[j + 1], S[j + 2], S[j + 3]));
        }
        return;
    }
    for (uint j = 0; j < ROWS; j++) {
        uint row = group * ROWS + j;
        if (row < K) atF(args.ht, base).v[has(TRANSPOSED) ? column * K + row : row * V + column] = S[j];
    }
}
