// FCHUNK: one workgroup walks the chunks of a sequence, the state on chip: chunk_state.comp and chunk_out.comp in one. Scalar decay or none.
//   out_i = inter f_i (a_i S) + scale sum over j of (a_i . b_j) e^{-|G_i - G_j|} c_j;   then S <- e^{G_C} S + write sum over s of f'_s b_s c_s^T
//   forward: f_i = e^{G_i}, f'_s = e^{G_C - G_s}, j <= i, inter = scale, write = 1       o: a, b, c = q, k, v      dq: do, v, k (S transposed)
//   REVERSE: f and f' exchanged, j >= i, inter = 1, write = scale                        dv: k, q, do              dk: v, do, q (S transposed)
// a, b [tokens, H, P]; c, out, e [tokens, H, Q]; gate: cumulative log decay in the chunk, fp32 [tokens, H] or null;
// initial, final fp32 [N, H, P, Q] (STATE_T: [N, H, Q, P]) or null; dots fp32 [tiles, tokens, H]: e_i out_i over the tile's columns, or null.
// One workgroup a tile of 64 columns (x), head (y) and sequence (z); it holds the tile's columns of S in P / 64 accumulators.
// @variants T=f32|f16|bf16 MM=plain|coopmat
// @exclude T=f32 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/decay.glsl"
#include "linear/sequences.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf a; TBuf b; TBuf c; F32Buf gate; F32Buf gamma; F32Buf initial; F32Buf final; TBuf e; F32Buf dots; TBuf o; I32Buf packed;
    uint T; uint C; uint H; uint P; uint Q; uint tokens; uint flags; float scale; float decayKind;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // chunk_tiles.glsl
layout(constant_id = 10) const uint STATES = 1;             // ceil(P / 64)

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
// Either SLICE columns of a, SLICE rows of S, SLICE columns of b; or A and SLICE rows of c; or SLICE rows of b and c.
#define OPERAND (tileQuads(64, SLICE) > tileQuads(SLICE, 64) ? tileQuads(64, SLICE) : tileQuads(SLICE, 64))
// With TOGETHER, all of b's columns beside a tile of a, A or c and one of S, c or the output.
#ifdef MM_coopmat
const bool TOGETHER = SLICE == 64 && STATES <= 2 && ALIGNED;
#define TILE_QUADS (TOGETHER ? (STATES + 2) * tileQuads(64, 64) : QUADS_IN_TURN)
#else
#define TILE_QUADS QUADS_IN_TURN
#endif
#define QUADS_IN_TURN (3 * OPERAND > tileQuads(64, 64) + OPERAND ? 3 * OPERAND : tileQuads(64, 64) + OPERAND)
#define TILE_VECTOR 192
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "linear/chunk_rows.glsl"

uint P = args.P, Q = args.Q, H = args.H, head = gl_WorkGroupID.y, q0 = gl_WorkGroupID.x * 64;
bool reverse = (args.flags & REVERSE) != 0, stateT = (args.flags & STATE_T) != 0;

vec4 loadState(uint64_t at, uint p, uint q) {
    if (!stateT) return loadTail4F(atF(args.initial, at), p * Q + q, p < P ? int(Q) - int(q) : 0);
    vec4 x = vec4(0);
    [[unroll]] for (uint i = 0; i < 4; i++) if (p < P && q + i < Q) x[i] = atF(args.initial, at).v[(q + i) * P + p];
    return x;
}

void storeState(uint64_t at, uint p, uint q, vec4 x) {
    if (p >= P) return;
    if (!stateT) storeTail4F(atF(args.final, at), p * Q + q, int(Q) - int(q), x);
    else [[unroll]] for (uint i = 0; i < 4; i++) if (q + i < Q) atF(args.final, at).v[(q + i) * P + p] = x[i];
}

#ifdef MM_coopmat
// One chunk after the other with little waiting: a chunk's operands are read while the products of the one before run, and b stays for both its uses.
const uint RUNS = TILE_RUNS(64, 64);
Tile keyTile(uint t) { return Tile(t * tileQuads(64, 64), tileStride(64), false); }

#define FETCH_AB(from, left) { \
    uint64_t next = uint64_t(from) * H + head; \
    TBuf rowsA = atT(args.a, next * P), rowsB = atT(args.b, next * P); \
    [[unroll]] for (uint t = 0; t < STATES; t++) { \
        TILE_FETCH(nextA, t * RUNS, 64, 64, rowsA, 0, t * 64, P, H * P, left) \
        TILE_FETCH(nextB, t * RUNS, 64, 64, rowsB, 0, t * 64, P, H * P, left) \
    } \
    if (!isNull(args.gate)) { \
        nextGate = atF(args.gate, next).v[min(lane, left - 1) * H]; \
        lastGate = atF(args.gate, next).v[(left - 1) * H]; \
    } }
#define FETCH_C(from, left) { \
    uint64_t next = uint64_t(from) * H + head; \
    TBuf rowsC = atT(args.c, next * Q); \
    TILE_FETCH(nextC, 0, 64, 64, rowsC, 0, q0, Q, H * Q, left) }

#endif

void main() {
    uint n = gl_WorkGroupID.z, lane = gl_LocalInvocationIndex;
    Span sequence = sequenceSpan(args.packed, n, args.T);
    uint chunks = (sequence.count + args.C - 1) / args.C;
    uint64_t corner = (uint64_t(n) * H + head) * P * Q;
    float headGate = headDecay(args.gamma, args.decayKind, head);
    float inter = reverse ? 1.0 : args.scale, write = reverse ? args.scale : 1.0;
    Tile a = Tile(0, tileStride(SLICE), false), part = Tile(OPERAND, tileStride(64), false), b = Tile(2 * OPERAND, tileStride(SLICE), false);
    Tile A = Tile(0, tileStride(64), false), values = Tile(tileQuads(64, 64), tileStride(64), false);
    Tile keys = Tile(0, tileStride(64), false);

    Acc S[STATES];
    [[unroll]] for (uint i = 0; i < STATES; i++) {
        accZero(S[i]);
        if (!isNull(args.initial)) ACC_SET(S[i], r, c, loadState(corner, i * 64 + r, q0 + c))
    }

#ifdef MM_coopmat
    if (TOGETHER) {
        TILE_AHEAD(nextA, STATES, 64, 64)
        TILE_AHEAD(nextB, STATES, 64, 64)
        TILE_AHEAD(nextC, 1, 64, 64)
        float nextGate = 0, lastGate = 0;
        Tile x = keyTile(STATES), y = keyTile(STATES + 1);
        if (chunks > 0) {
            uint index = reverse ? chunks - 1 : 0, start = sequence.first + index * args.C, left = min(args.C, sequence.count - index * args.C);
            FETCH_AB(start, left)
            FETCH_C(start, left)
        }
        [[dont_unroll]] for (uint i = 0; i < chunks; i++) {
            uint index = reverse ? chunks - 1 - i : i;
            uint start = sequence.first + index * args.C, count = min(args.C, sequence.count - index * args.C);
            uint following = reverse ? max(index, 1) - 1 : min(index + 1, chunks - 1);
            uint nextStart = sequence.first + following * args.C, nextCount = min(args.C, sequence.count - following * args.C);
            float end = headGate * float(count) + lastGate;
            if (lane < 64) {
                float g = headGate * float(min(lane, count - 1) + 1) + nextGate;
                tileVector[lane] = inter * exp(reverse ? end - g : g);
                tileVector[64 + lane] = g;
                tileVector[128 + lane] = write * exp(reverse ? g : end - g);
            }
            Acc acc[2];
            accZero(acc[0]);
            accZero(acc[1]);
            [[unroll]] for (uint t = 0; t < STATES; t++) {
                TILE_LAND(x, 64, 64, nextA, t * RUNS, 0, t * 64, P, count)
                if (t == 0) {
                    [[unroll]] for (uint j = 0; j < STATES; j++) TILE_LAND(keyTile(j), 64, 64, nextB, j * RUNS, 0, j * 64, P, count)
                }
                accLay(S[t], y)
                barrier();
                mmaEach(acc, 2, x, j, j == 0 ? y : T(keyTile(t)), 64)
                barrier();
            }
            FETCH_AB(nextStart, nextCount)
            accScaleRows(acc[0], 0);
            ACC_PUT(acc[1], x, r, c, v, maskedScores(r, c, v, reverse, args.scale, false))
            TILE_LAND(y, 64, 64, nextC, 0, 0, q0, Q, count)
            barrier();
            mma(acc[0], x, y, 64);
            barrier();
            uint64_t token = uint64_t(start) * H + head;
            TBuf o = atT(args.o, token * Q);
            if (!isNull(args.dots)) {
                TBuf rowsE = atT(args.e, token * Q);
                TILE_AHEAD(nextE, 1, 64, 64)
                TILE_FETCH(nextE, 0, 64, 64, rowsE, 0, q0, Q, H * Q, count)
                float part[RUNS];
                accSpread(acc[0], x.at / 2)
                barrier();
                TILE_EACH_RUN(64, 64, j, r, c,
                    uvec4 e = landedOct(nextE[j], r, q0 + c, Q, count);
                    part[j] = dot(tileFloats(x.at / 2, r, c), unpack4(e.xy)) + dot(tileFloats(x.at / 2, r, c + 4), unpack4(e.zw));)
                barrier();
                TILE_EACH_RUN(64, 64, j, r, c, tilePutFloat(x.at * 2 + r * 8 + c / 8, part[j]);)
                barrier();
                if (lane < count) {
                    float sum = 0;
                    for (uint j = 0; j < 8; j++) sum += tileGetFloat(x.at * 2 + lane * 8 + j);
                    atF(args.dots, (uint64_t(gl_WorkGroupID.x) * args.tokens + start) * H).v[lane * H + head] = sum;
                }
                barrier();
            }
            TILE_LAND_SCALED(x, 64, 64, nextC, 0, 0, q0, Q, count, r, tileVector[128 + r])
            accLay(acc[0], y)
            barrier();
            FETCH_C(nextStart, nextCount)
            TILE_EACH_RUN(64, 64, j, r, c,
                uvec4 oct = tilePool[(y.at + r * y.stride + c / 4) / 2];
                storeOct(o, r * H * Q + q0 + c, r < count ? int(Q) - int(q0 + c) : 0, oct.xy, oct.zw);)
            [[unroll]] for (uint t = 0; t < STATES; t++) {
                accScale(S[t], exp(end));
                mma(S[t], T(keyTile(t)), x, 64);
            }
            barrier();
        }
        if (isNull(args.final)) return;
        [[unroll]] for (uint t = 0; t < STATES; t++) ACC_EACH(S[t], r, c, v, storeState(corner, t * 64 + r, q0 + c, v);)
        return;
    }
#endif
    [[dont_unroll]] for (uint i = 0; i < chunks; i++) {
        uint index = reverse ? chunks - 1 - i : i;
        uint start = sequence.first + index * args.C, count = min(args.C, sequence.count - index * args.C);
        uint64_t token = uint64_t(start) * H + head;
        TBuf rowsA = atT(args.a, token * P), rowsB = atT(args.b, token * P), rowsC = atT(args.c, token * Q);
        if (lane < 64) {
            uint r = min(lane, count - 1);
            tileVector[64 + lane] = headGate * float(r + 1) + (isNull(args.gate) ? 0.0 : atF(args.gate, token).v[r * H]);
        }
        barrier();
        float last = tileVector[127];
        if (lane < 64) tileVector[lane] = inter * exp(reverse ? last - tileVector[64 + lane] : tileVector[64 + lane]);

        Acc acc, scores;
        accZero(acc);
        accZero(scores);
        [[unroll]] for (uint t = 0; t < STATES; t++) {
            [[dont_unroll]] for (uint p = 0; p < 64; p += SLICE) {
                uint p0 = t * 64 + p;
                TILE_ROWS(a, 64, SLICE, rowsA, 0, p0, P, H * P, count)
                TILE_ROWS(b, 64, SLICE, rowsB, 0, p0, P, H * P, count)
                ACC_EACH(S[t], r, c, x, if (r / SLICE == p / SLICE) tilePut(part, r % SLICE, c, x);)
                barrier();
                mma(acc, a, part, SLICE);
                mma(scores, a, T(b), SLICE);
                barrier();
            }
        }
        accScaleRows(acc, 0);
        ACC_PUT(scores, A, r, c, x, maskedScores(r, c, x, reverse, args.scale, false))
        [[dont_unroll]] for (uint s0 = 0; s0 < 64; s0 += SLICE) {
            TILE_ROWS(values, SLICE, 64, rowsC, s0, q0, Q, H * Q, count)
            barrier();
            mma(acc, Tile(A.at + s0 / 4, A.stride, false), values, SLICE);
            barrier();
        }
        TBuf o = atT(args.o, token * Q), rowsE = atT(args.e, token * Q);
        ACC_STORE(acc, o, r, c, r * H * Q + q0 + c, (r < count ? int(Q) - int(q0 + c) : 0), x, x)
        if (!isNull(args.dots)) {
            ACC_EACH(acc, r, c, x, tilePutFloat(r * 16 + c / 4, dot(widen(rowQuad(rowsE, r, q0 + c, Q, H * Q, count)), x));)
            barrier();
            if (lane < count) {
                float sum = 0;
                for (uint j = 0; j < 16; j++) sum += tileGetFloat(lane * 16 + j);
                atF(args.dots, (uint64_t(gl_WorkGroupID.x) * args.tokens + start) * H).v[lane * H + head] = sum;
            }
            barrier();
        }

        [[unroll]] for (uint t = 0; t < STATES; t++) {
            accScale(S[t], exp(last));
            [[dont_unroll]] for (uint s0 = 0; s0 < 64; s0 += SLICE) {
                TILE_SCALED_ROWS(keys, SLICE, 64, rowsB, s0, t * 64, P, H * P, count, r, write * exp(reverse ? tileVector[64 + s0 + r] : last - tileVector[64 + s0 + r]))
                TILE_ROWS(values, SLICE, 64, rowsC, s0, q0, Q, H * Q, count)
                barrier();
                mma(S[t], T(keys), values, SLICE);
                barrier();
            }
        }
    }
    if (isNull(args.final)) return;
    [[unroll]] for (uint i = 0; i < STATES; i++) ACC_EACH(S[i], r, c, x, storeState(corner, i * 64 + r, q0 + c, x);)
}
