// RECUR: the additive memory, one token at a time. For each sequence and head, with S a K x V matrix in registers:
//   S <- decay(S) + writeScale w x^T;  o = scale S^T r;  decay(S) = e^g e^gamma diag(e^gk) S diag(e^gv)
// With decayAfter the decay comes after the read: a reverse walk then carries the gradient of the state.
// r, w [tokens, H, K]; x, o [tokens, H, V]; g [tokens, H], gamma [H] or a kind (decay.glsl), gk [tokens, H, K], gv [tokens, H, V]; each may be null.
// h0 and ht [N, H, K, V] fp32 (transposed: [N, H, V, K]); null is zero, or not wanted. They may be the same memory.
// Forward: r, w, x = q, k, v. Backward is the same walk: dq from (do, v, k) with gk and gv exchanged and the state transposed,
// dv in reverse with decayAfter from (k, q, do), dk likewise from (v, do, q).
// One workgroup holds all rows of COLUMNS columns of S: thread (group, column) holds ROWS rows of one column.
// @variants T=f32|f16|bf16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/decay.glsl"
#include "linear/sequences.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf r; TBuf w; TBuf x; F32Buf o; F32Buf g; F32Buf gamma; F32Buf gk; F32Buf gv; F32Buf h0; F32Buf ht; I32Buf packed;
    uint T; uint H; uint K; uint V; uint groups; uint flags; float scale; float writeScale; float decayKind;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ROWS = 16;              // K <= 8 ROWS

const uint REVERSE = 1, DECAY_AFTER = 2, TRANSPOSED = 4, OUTPUT_F32 = 8, GATES_F32 = 16;
const uint COLUMNS = 32, GROUPS = 8, TOKENS = 4;

shared float sr[TOKENS][GROUPS * ROWS];
shared float sw[TOKENS][GROUPS * ROWS];
shared float sk[TOKENS][GROUPS * ROWS];                    // decay of a row, with the head's
shared float sx[TOKENS][COLUMNS];
shared float sv[TOKENS][COLUMNS];                          // decay of a column
shared float part[TOKENS][GROUPS][COLUMNS];

float gate(F32Buf p, uint64_t i) {
    return (args.flags & GATES_F32) != 0 ? atF(p, i).v[0] : loadT(atT(TBuf(uint64_t(p)), i), 0);
}

void main() {
    uint tiles = (args.V + COLUMNS - 1) / COLUMNS;
    uint wg = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    if (wg >= args.groups) return;
    uint tile = wg % tiles, head = (wg / tiles) % args.H, n = wg / tiles / args.H;
    uint K = args.K, V = args.V, tid = gl_LocalInvocationID.x;
    uint lane = tid % COLUMNS, group = tid / COLUMNS, column = tile * COLUMNS + lane;
    bool reverse = (args.flags & REVERSE) != 0;
    bool after = (args.flags & DECAY_AFTER) != 0;
    bool transposed = (args.flags & TRANSPOSED) != 0;
    float headGate = headDecay(args.gamma, args.decayKind, head);
    uint64_t base = (uint64_t(n) * args.H + head) * K * V;

    float S[ROWS];
    for (uint j = 0; j < ROWS; j++) {
        uint row = group * ROWS + j;
        bool inside = row < K && column < V && !isNull(args.h0);
        S[j] = inside ? atF(args.h0, base).v[transposed ? column * K + row : row * V + column] : 0.0;
    }

    Span tokens = sequenceSpan(args.packed, n, args.T);
    [[dont_unroll]] for (uint t0 = 0; t0 < tokens.count; t0 += TOKENS) {
        uint count = min(TOKENS, tokens.count - t0);
        for (uint i = tid; i < count * GROUPS * ROWS; i += gl_WorkGroupSize.x) {
            uint t = i / (GROUPS * ROWS), k = i % (GROUPS * ROWS);
            uint token = tokens.first + (reverse ? tokens.count - 1 - t0 - t : t0 + t);
            uint64_t at = uint64_t(token) * args.H + head;
            bool inside = k < K;
            sr[t][k] = inside ? loadT(atT(args.r, at * K), k) : 0.0;
            sw[t][k] = inside ? loadT(atT(args.w, at * K), k) : 0.0;
            float decay = headGate;
            if (!isNull(args.g)) decay += gate(args.g, at);
            if (!isNull(args.gk) && inside) decay += gate(args.gk, at * K + k);
            sk[t][k] = exp(decay);
        }
        for (uint i = tid; i < count * COLUMNS; i += gl_WorkGroupSize.x) {
            uint t = i / COLUMNS, v = tile * COLUMNS + i % COLUMNS;
            uint token = tokens.first + (reverse ? tokens.count - 1 - t0 - t : t0 + t);
            uint64_t at = uint64_t(token) * args.H + head;
            sx[t][i % COLUMNS] = v < V ? args.writeScale * loadT(atT(args.x, at * V), v) : 0.0;
            sv[t][i % COLUMNS] = v < V && !isNull(args.gv) ? exp(gate(args.gv, at * V + v)) : 1.0;
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
            if ((args.flags & OUTPUT_F32) != 0) atF(args.o, at).v[column] = args.scale * sum;
            else storeT(atT(TBuf(uint64_t(args.o)), at), column, args.scale * sum);
        }
    }

    if (isNull(args.ht)) return;
    for (uint j = 0; j < ROWS; j++) {
        uint row = group * ROWS + j;
        if (row < K && column < V) atF(args.ht, base).v[transposed ? column * K + row : row * V + column] = S[j];
    }
}
