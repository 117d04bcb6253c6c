// OUT, OUT-A, DV-loc and DQKG: what a chunk's tokens read from the state and from each other. One formula serves o and the gradients:
//   out_i = inter f_i (a_i S) + sum over j of A_ij c_j
//   f_i  = e^{G_i}, j <= i                                  forward: o, dq
//   f_i  = e^{G_C - G_i}, j >= i                            REVERSE: dk, dv
// MODE 0 (a scalar gate or none): A_ij = intra (a_i . b_j) e^{-|G_i - G_j|}
//   o: a, b, c = q, k, v, S = h        dq: do, v, k, S = h^T        dv: k, q, do, S = D        dk: v, do, q, S = D^T (STATE_T)
//   With e given, dots[tile, token, head] = sum over the tile of e_i out_i (for the gradient of the gate).
// MODE 1 (vector gate on a's channels): f_i scales a_i before the product, A is given; REVERSE reads its transpose.   o: a = q; dv: a = k
// MODE 2 (vector gate on the output's channels): out fp32 += f_i inter (a_i S), no A.                               dq: a = do; dk: a = v
// a, b [tokens, H, P]; c, out, e [tokens, H, Q]; states [chunks, H, P, Q] (STATE_T: [chunks, H, Q, P]); A fp32 [tokens, H, C];
// gate: cumulative log decay in the chunk, fp32 [tokens, H] or [tokens, H, P] or [tokens, H, Q] by mode, or null.
// One workgroup a chunk and tile of 64 columns (x) and head (y).
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
    TBuf a; TBuf b; TBuf c; F32Buf gate; F32Buf gamma; F32Buf states; F32Buf A; TBuf e; F32Buf dots; F32Buf o; I32Buf packed;
    uint N; uint T; uint C; uint H; uint P; uint Q; uint flags; float inter; float intra; float decayKind;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // P and Q are multiples of 4
layout(constant_id = 9) const uint MODE = 0;

#define TILE_ALIGNED ALIGNED
// Either a, S and b, 32 wide each, or A and 32 rows of c.
#define OPERAND (tileQuads(64, 32) > tileQuads(32, 64) ? tileQuads(64, 32) : tileQuads(32, 64))
#define TILE_QUADS (3 * OPERAND > tileQuads(64, 64) + OPERAND ? 3 * OPERAND : tileQuads(64, 64) + OPERAND)
#define TILE_VECTOR 128
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "linear/chunk_rows.glsl"

const uint STATES_F32 = 4;

uint P = args.P, Q = args.Q, H = args.H, head = gl_WorkGroupID.y;
bool reverse = (args.flags & REVERSE) != 0;
uint q0;

// Elements (r, c..c+3) of the state as it lies in memory, rows of `width`.
vec4 stateQuad(uint64_t at, uint r, uint c, uint rows, uint width) {
    if ((args.flags & STATES_F32) != 0) return rowQuadF(atF(args.states, at), r, c, width, width, rows);
    return widen(rowQuad(atT(TBuf(uint64_t(args.states)), at), r, c, width, width, rows));
}

vec4 vectorFactor(F32Buf gates, uint r, uint c, uint width, uint count) {
    vec4 g = rowQuadF(gates, r, c, width, H * width, count);
    return exp(reverse ? rowQuadF(gates, count - 1, c, width, H * width, count) - g : g);
}

void main() {
    uint tiles = (Q + 63) / 64;
    uint chunkIndex = gl_WorkGroupID.x / tiles, tile = gl_WorkGroupID.x % tiles;
    q0 = tile * 64;
    Chunk chunk = chunkAt(args.packed, args.N, chunkIndex, args.T, args.C);
    if (chunk.sequence < 0) return;
    uint count = chunk.tokens.count, lane = gl_LocalInvocationIndex;
    uint64_t token = uint64_t(chunk.tokens.first) * H + head;
    uint64_t state = (uint64_t(chunkIndex) * H + head) * P * Q;
    bool stateT = (args.flags & STATE_T) != 0;
    TBuf rowsA = atT(args.a, token * P);

    if (MODE == 0 && lane < 64) {
        float headGate = headDecay(args.gamma, args.decayKind, head);
        uint r = min(lane, count - 1);
        float g = headGate * float(r + 1), last = headGate * float(count);
        if (!isNull(args.gate)) {
            g += atF(args.gate, token).v[r * H];
            last += atF(args.gate, token).v[(count - 1) * H];
        }
        tileVector[64 + lane] = g;
        tileVector[lane] = args.inter * exp(reverse ? last - g : g);
    }

    Tile a = Tile(0, tileStride(32), false), b = Tile(2 * OPERAND, tileStride(32), false);
    Tile S = Tile(OPERAND, stateT ? tileStride(32) : tileStride(64), stateT);
    Acc acc, scores;
    accZero(acc);
    accZero(scores);
    [[dont_unroll]] for (uint p0 = 0; p0 < P; p0 += SLICE) {
        if (MODE == 1) {
            F32Buf gates = atF(args.gate, token * P);
            TILE_STAGE(a, 64, SLICE, r, c, (r < count ? widen(rowQuad(rowsA, r, p0 + c, P, H * P, count)) * vectorFactor(gates, r, p0 + c, P, count) : vec4(0)))
        } else {
            TILE_STAGE(a, 64, SLICE, r, c, rowQuad(rowsA, r, p0 + c, P, H * P, count))
        }
        if (stateT) TILE_STAGE(S, 64, SLICE, r, c, stateQuad(state, q0 + r, p0 + c, Q, P))
        else TILE_STAGE(S, SLICE, 64, r, c, stateQuad(state, p0 + r, q0 + c, P, Q))
        if (MODE == 0) {
            TBuf rowsB = atT(args.b, token * P);
            TILE_STAGE(b, 64, SLICE, r, c, rowQuad(rowsB, r, p0 + c, P, H * P, count))
        }
        barrier();
        mma(acc, a, S, SLICE);
        if (MODE == 0) mma(scores, a, T(b), SLICE);
        barrier();
    }

    if (MODE == 2) {
        F32Buf o = atF(args.o, token * Q), gates = atF(args.gate, token * Q);
        ACC_EACH(acc, r, c, x, {
            if (r < count) {
                vec4 sum = rowQuadF(o, r, q0 + c, Q, H * Q, count) + args.inter * x * vectorFactor(gates, r, q0 + c, Q, count);
                storeTail4F(o, r * H * Q + q0 + c, int(Q) - int(q0 + c), sum);
            }
        })
        return;
    }

    Tile A = Tile(0, tileStride(64), MODE == 1 && reverse), values = Tile(tileQuads(64, 64), tileStride(64), false);
    if (MODE == 0) {
        accScaleRows(acc, 0);
        ACC_EACH(scores, r, c, x, tilePut(A, r, c, maskedScores(r, c, x, count, reverse, args.intra));)
    } else {
        accScale(acc, args.inter);
        F32Buf rows = atF(args.A, token * args.C);
        TILE_STAGE(A, 64, 64, r, c, (r < count && c < args.C
            ? mix(vec4(0), load4F(rows, r * H * args.C + c), lessThanEqual(uvec4(c) + uvec4(0, 1, 2, 3), uvec4(r)))
            : vec4(0)))
    }
    TBuf rowsC = atT(args.c, token * Q);
    [[dont_unroll]] for (uint s0 = 0; s0 < count; s0 += SLICE) {
        TILE_STAGE(values, SLICE, 64, r, c, rowQuad(rowsC, s0 + r, q0 + c, Q, H * Q, count))
        barrier();
        mma(acc, Tile(A.at + (A.transposed ? s0 * A.stride : s0 / 4), A.stride, A.transposed), values, SLICE);
        barrier();
    }

    TBuf o = atT(TBuf(uint64_t(args.o)), token * Q);
    ACC_EACH(acc, r, c, x, {
        if (r < count) storeTail4T(o, r * H * Q + q0 + c, int(Q) - int(q0 + c), x);
        if (!isNull(args.dots)) {
            vec4 e = widen(rowQuad(atT(args.e, token * Q), r, q0 + c, Q, H * Q, count));
            tilePool[r * 16 + c / 4] = floatQuad(dot(e, x));
        }
    })
    if (isNull(args.dots)) return;
    barrier();
    if (lane < count) {
        float sum = 0;
        for (uint i = 0; i < 16; i++) sum += quadFloat(tilePool[lane * 16 + i]);
        atF(args.dots, uint64_t(tile) * (isNull(args.packed) ? args.N * args.T : args.T) * H).v[(chunk.tokens.first + lane) * H + head] = sum;
    }
}
