// FLASH: causal softmax attention, one workgroup for 32 rows of a head, walking the columns that they see in tiles of 32, in one of three passes. Key j of a sequence
// is seen by its query i where j <= p_i < j + window, p_i = i + offset. With l_ij = scale q_i . k_j:
//   SOFTMAX    rows are queries: o_i = sum_j e^(l_ij - lse_i) v_j, and lse, by running maximum and sum
//   WEIGHTS    rows are keys:    dv_j = sum_i p_ij do_i, p_ij = e^(l_ij - lse_i)
//   GRADIENTS  rows are either:  ds_ij = p_ij (do_i . v_j - delta_i); dq_i = scale sum_j ds_ij k_j, or with KEY_ROWS dk_j = scale sum_i ds_ij q_i
// a, a2 are what a row brings to the dot products (q, do or k, v), b, b2 what a column does, c what is summed over columns.
// Query-side tensors [tokens, HQ, *], key-side ones [tokens, H, *]; query head h reads key head h / (HQ/H), and a key row sums over its query heads.
// With capacity, keys and values are rings [N, capacity, H, *]: position j of sequence n lies at j % capacity. lse, delta [tokens, HQ] fp32.
// Thread (r, lane) of 32 x 8 has row r: its logits at columns lane + 8 j, its sums at channels lane + 8 i.
// @variants T=f32|f16|bf16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/sequences.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf a; TBuf b; TBuf a2; TBuf b2; TBuf c; TBuf y; F32Buf lse; F32Buf delta; I32Buf packed; I32Buf offsets;
    uint T; uint HQ; uint H; uint K; uint V; uint C; uint window; uint capacity; float scale;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint SLICES = 2;             // ceil(C / 32)
layout(constant_id = 2) const uint PASS = 0;
layout(constant_id = 3) const bool KEY_ROWS = false;

const uint SOFTMAX = 0, WEIGHTS = 1, GRADIENTS = 2;
const uint TILE = 32, LANES = 8, OWN = TILE / LANES, NONE = 0xffffffffu;

shared float rows[TILE][TILE + 1];
shared float columns[TILE][TILE + 1];
shared float weights[TILE][TILE + 1];

uint n = gl_WorkGroupID.z, tid = gl_LocalInvocationID.x, r = tid / LANES, lane = tid % LANES;
Span tokens;
uint offset;                                               // position of the first query

// Where query i of a head is, or key j.
uint64_t placeOf(bool isQuery, uint i, uint head) {
    return isQuery ? uint64_t(tokens.first + i) * args.HQ + head
        : (args.capacity == 0 ? uint64_t(tokens.first + i) : uint64_t(n) * args.capacity + i % args.capacity) * args.H + head;
}

// 32 x 32 elements of rows first, first + 1, ..., zero from count and from width on.
#define STAGE(tile, p, isQuery, head, first, count, width, c0) \
    for (uint at = tid; at < TILE * TILE; at += gl_WorkGroupSize.x) { \
        uint i = (first) + at / TILE, ch = (c0) + at % TILE; \
        bool inside = i < (count) && ch < (width); \
        float x = loadT(atT(p, placeOf(isQuery, inside ? i : 0, head) * (width)), inside ? ch : 0); \
        tile[at / TILE][at % TILE] = inside ? x : 0.0; \
    }

#define DOTS(d, x, y, rowHead, columnHead, width) \
    [[dont_unroll]] for (uint c0 = 0; c0 < (width); c0 += TILE) { \
        STAGE(rows, x, !KEY_ROWS, rowHead, r0, rowCount, width, c0) \
        STAGE(columns, y, KEY_ROWS, columnHead, s0, columnCount, width, c0) \
        barrier(); \
        [[dont_unroll]] for (uint ch = 0; ch < TILE; ch++) { \
            float x0 = rows[r][ch]; \
            [[unroll]] for (uint j = 0; j < OWN; j++) d[j] += x0 * columns[lane + LANES * j][ch]; \
        } \
        barrier(); \
    }

void main() {
    tokens = sequenceSpan(args.packed, n, args.T);
    bool hasOffset = !isNull(args.offsets);
    I32Buf offsets = I32Buf(hasOffset ? uint64_t(args.offsets) : uint64_t(args.a));
    int given = offsets.v[hasOffset ? n : 0];
    offset = hasOffset ? uint(given) : 0;
    uint queries = tokens.count, keys = offset + queries;
    uint rowCount = KEY_ROWS ? keys : queries, columnCount = KEY_ROWS ? queries : keys;
    uint r0 = gl_WorkGroupID.x * TILE, row = r0 + r, rowHead = gl_WorkGroupID.y, group = args.HQ / args.H;
    if (r0 >= rowCount) return;
    bool hasWindow = args.window != 0;
    // Rows r0 .. r0 + 31 see no column outside of these. (Keys have an offset of 0 where they are rows.)
    uint last = min(r0 + TILE, rowCount), begin = 0, end;
    if (KEY_ROWS) {
        begin = r0;
        end = hasWindow ? min(queries, last - 1 + args.window) : queries;
    } else {
        if (hasWindow && offset + r0 + 1 > args.window) begin = offset + r0 + 1 - args.window;
        end = offset + last;
    }

    float acc[SLICES * OWN];
    for (uint i = 0; i < SLICES * OWN; i++) acc[i] = 0;
    const float NEVER = -3.0e38;
    float most = NEVER, total = 0;
    [[dont_unroll]] for (uint g = 0; g < (KEY_ROWS ? group : 1); g++) {
        uint columnHead = KEY_ROWS ? rowHead * group + g : rowHead / group;
        [[dont_unroll]] for (uint s0 = begin / TILE * TILE; s0 < end; s0 += TILE) {
            float l[OWN], d[OWN];
            for (uint j = 0; j < OWN; j++) l[j] = d[j] = 0;
            DOTS(l, args.a, args.b, rowHead, columnHead, args.K)
            if (PASS == GRADIENTS) DOTS(d, args.a2, args.b2, rowHead, columnHead, args.V)
            bool seen[OWN];
            for (uint j = 0; j < OWN; j++) {
                uint column = s0 + lane + LANES * j, position = offset + (KEY_ROWS ? column : row), key = KEY_ROWS ? row : column;
                seen[j] = row < rowCount && column < columnCount && key <= position && (!hasWindow || position - key < args.window);
                l[j] *= args.scale;
            }
            if (PASS == SOFTMAX) {
                for (uint j = 0; j < OWN; j++) weights[r][lane + LANES * j] = seen[j] ? l[j] : NEVER;
                barrier();
                float before = most;
                for (uint s = 0; s < TILE; s++) most = max(most, weights[r][s]);
                barrier();
                for (uint j = 0; j < OWN; j++) weights[r][lane + LANES * j] = seen[j] ? exp(l[j] - most) : 0.0;
                barrier();
                float kept = exp(before - most);
                total *= kept;
                for (uint s = 0; s < TILE; s++) total += weights[r][s];
                for (uint i = 0; i < SLICES * OWN; i++) acc[i] *= kept;
            } else {
                for (uint j = 0; j < OWN; j++) {
                    uint query = KEY_ROWS ? s0 + lane + LANES * j : row;
                    uint64_t place = placeOf(true, seen[j] ? query : 0, KEY_ROWS ? columnHead : rowHead);
                    float p = seen[j] ? exp(l[j] - atF(args.lse, place).v[0]) : 0.0;
                    weights[r][lane + LANES * j] = PASS == WEIGHTS ? p : p * (d[j] - atF(args.delta, place).v[0]);
                }
                barrier();
            }
            [[unroll]] for (uint z = 0; z < SLICES; z++) {
                STAGE(columns, args.c, KEY_ROWS, columnHead, s0, columnCount, args.C, z * TILE)
                barrier();
                [[dont_unroll]] for (uint s = 0; s < TILE; s++) {
                    float w = weights[r][s];
                    [[unroll]] for (uint i = 0; i < OWN; i++) acc[z * OWN + i] += w * columns[s][lane + LANES * i];
                }
                barrier();
            }
        }
    }

    if (row >= rowCount) return;
    uint64_t place = placeOf(!KEY_ROWS, row, rowHead);
    float factor = PASS == SOFTMAX ? 1.0 / total : PASS == WEIGHTS ? 1.0 : args.scale;
    for (uint i = 0; i < SLICES * OWN; i++) {
        uint ch = i / OWN * TILE + lane + LANES * (i % OWN);
        if (ch < args.C) storeT(atT(args.y, place * args.C), ch, acc[i] * factor);
    }
    if (PASS == SOFTMAX && lane == 0 && !isNull(args.lse)) atF(args.lse, place).v[0] = most + log(total);
}
