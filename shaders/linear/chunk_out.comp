// OUT, OUT-A, DV-loc and DQKG: what a chunk's tokens read from the state and from each other. One formula serves o and the gradients:
//   out_i = inter f_i (a_i S) + sum over j of A_ij c_j
//   f_i  = e^{G_i}, j <= i                                  forward: o, dq
//   f_i  = e^{G_C - G_i}, j >= i                            REVERSE: dk, dv
// MODE 0 (a scalar gate or none): A_ij = intra (a_i . b_j) e^{-|G_i - G_j|}
//   o: a, b, c = q, k, v, S = h        dq: do, v, k, S = h^T        dv: k, q, do, S = D        dk: v, do, q, S = D^T (STATE_T)
//   With e given, dots[workgroup's tiles, token, head] = sum over its columns of e_i out_i (for the gradient of the gate).
// MODE 1 (vector gate on a's channels): f_i scales a_i before the product, A is given; REVERSE reads its transpose.   o: a = q; dv: a = k
//   With b and gamma given, which are like c and A here, their product is added too.
// MODE 2 (vector gate on the output's channels): out fp32 += f_i inter (a_i S), no A.                               dq: a = do; dk: a = v
// a, b [tokens, H, P]; c, out, e [tokens, H, Q]; states [chunks, H, P, Q] (STATE_T: [chunks, H, Q, P]); A fp32 [tokens, H, C];
// gate: cumulative log decay in the chunk, fp32 [tokens, H] or [tokens, H, P] or [tokens, H, Q] by mode, or null.
// NO_STATE leaves the first term out, TWO adds the second product.
// One workgroup a chunk and TILES tiles of 64 columns (x) and head (y).
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
    uint N; uint T; uint C; uint H; uint P; uint Q; float inter; float intra; float decayKind;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // chunk_tiles.glsl
layout(constant_id = 10) const uint MODE = 0;
layout(constant_id = 11) const uint FLAGS = 0;
layout(constant_id = 12) const uint TILES = 1;             // tiles of 64 columns of the output that a workgroup makes
layout(constant_id = 13) const uint SLICES = 1;            // ceil(P / SLICE)
layout(constant_id = 14) const bool FULL = false;          // widths are multiples of 64

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
#define TILE_SOLID FULL
// Either SLICE columns of a and b and SLICE rows of S, or A and SLICE rows of c.
#define OPERAND (tileQuads(64, SLICE) > tileQuads(SLICE, 64) ? tileQuads(64, SLICE) : tileQuads(SLICE, 64))
#define QUADS_READ ((2 + TILES) * OPERAND)
#define QUADS_SCORES (tileQuads(64, 64) + TILES * tileQuads(SLICE, 64))
#define QUADS_PRODUCTS (QUADS_READ > QUADS_SCORES ? QUADS_READ : QUADS_SCORES)
// Of cooperative matrices also the whole output; or A and the scratch.
#ifdef MM_coopmat
#define TILE_SCRATCH (tileQuads(64, 64) / 2)
#define QUADS_LAID (TILES * tileQuads(64, 64) > tileQuads(64, 64) + 2 * TILE_SCRATCH_OCTS ? TILES * tileQuads(64, 64) : tileQuads(64, 64) + 2 * TILE_SCRATCH_OCTS)
#define TILE_QUADS (QUADS_PRODUCTS > QUADS_LAID ? QUADS_PRODUCTS : QUADS_LAID)
#else
#define TILE_QUADS QUADS_PRODUCTS
#endif
#define TILE_VECTOR 128
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "linear/chunk_rows.glsl"

const uint STATES_F32 = 4, NO_STATE = 8, TWO = 16;

uint P = args.P, Q = args.Q, H = args.H, head = gl_WorkGroupID.y;
const bool reverse = (FLAGS & REVERSE) != 0, stateT = (FLAGS & STATE_T) != 0, hasState = (FLAGS & NO_STATE) == 0;
const uint GIVEN = (FLAGS & TWO) != 0 ? 2u : 1u;           // products within the chunk
uint q0;

// Accumulators: tiles of the output, and with MODE 0 the scores.
const uint PRODUCTS = TILES + (MODE == 0 ? 1 : 0);
Tile stateTile(uint t) { return Tile((2 + t) * OPERAND, stateT ? tileStride(SLICE) : tileStride(64), stateT); }
Tile valueTile(uint t) { return Tile(tileQuads(64, 64) + t * tileQuads(SLICE, 64), tileStride(64), false); }

// Rows p0 and columns q0 on of the state, as it lies in memory.
void stageState(Tile tile, uint64_t at, uint p0, uint q0) {
    F32Buf wide = atF(args.states, at);
    TBuf narrow = atT(TBuf(uint64_t(args.states)), at);
    if ((FLAGS & STATES_F32) != 0 && stateT) {
        TILE_STAGE(tile, 64, SLICE, r, c, rowQuadF(wide, q0 + r, p0 + c, P, P, Q))
    } else if ((FLAGS & STATES_F32) != 0) {
        TILE_STAGE(tile, SLICE, 64, r, c, rowQuadF(wide, p0 + r, q0 + c, Q, Q, P))
    } else if (stateT) {
        TILE_ROWS(tile, 64, SLICE, narrow, q0, p0, P, P, Q)
    } else {
        TILE_ROWS(tile, SLICE, 64, narrow, p0, q0, Q, Q, P)
    }
}

// e^{G} of a channel's decay G at a token, or of what is left of it to the chunk's end.
vec4 decayFactor(vec4 g, vec4 last) { return exp(reverse ? last - g : g); }

vec4 vectorFactor(F32Buf gates, uint r, uint c, uint width, uint count) {
    return decayFactor(rowQuadF(gates, r, c, width, H * width, count), rowQuadF(gates, count - 1, c, width, H * width, count));
}

// Four of the given products A of row r, from column c on: nothing above the diagonal.
vec4 scoresAt(F32Buf rows, uint r, uint c, uint count) { return load4F(rows, r < count && c < args.C ? r * H * args.C + c : 0); }
vec4 triangle(vec4 x, uint r, uint c, uint count) {
    return r < count && c < args.C ? mix(vec4(0), x, lessThanEqual(uvec4(c) + uvec4(0, 1, 2, 3), uvec4(r))) : vec4(0);
}

#ifdef MM_coopmat
const uint RUNS = TILE_RUNS(64, SLICE), RUNS_C = TILE_RUNS(64, 64);
// One slice of the operands: read while the products of the one before run.
#define FETCH(s) { \
    uint p0 = (s) * SLICE; \
    TILE_FETCH(nextA, 0, 64, SLICE, rowsA, 0, p0, P, H * P, count) \
    if (MODE == 0) TILE_FETCH(nextB, 0, 64, SLICE, rowsB, 0, p0, P, H * P, count) \
    if (MODE == 1) TILE_EACH_RUN(64, SLICE, j, r, c, \
        nextGates[2 * j] = nextQuadF(gatesA, r, p0 + c, P, H * P, count); \
        nextGates[2 * j + 1] = nextQuadF(gatesA, r, p0 + c + 4, P, H * P, count);) \
    if (MODE == 1 && reverse) { \
        lastGates[0] = nextQuadF(gatesA, count - 1, p0 + gl_LocalInvocationIndex % (SLICE / 8) * 8, P, H * P, count); \
        lastGates[1] = nextQuadF(gatesA, count - 1, p0 + gl_LocalInvocationIndex % (SLICE / 8) * 8 + 4, P, H * P, count); \
    } \
    if (hasState && (FLAGS & STATES_F32) == 0) [[unroll]] for (uint t = 0; t < TILES; t++) { \
        if (stateT) TILE_FETCH(nextS, t * RUNS, 64, SLICE, narrow, q0 + 64 * t, p0, P, P, Q) \
        else TILE_FETCH(nextS, t * RUNS, SLICE, 64, narrow, p0, q0 + 64 * t, Q, Q, P) \
    } }

#define LAND(s) { \
    uint p0 = (s) * SLICE; \
    if (MODE == 1) TILE_LAND_RUNS(a, 64, SLICE, r, c, gatedOct(landedOct(nextA[tileJ], r, p0 + c, P, count), \
        nextGates[2 * tileJ], nextGates[2 * tileJ + 1], lastGates[0], lastGates[1])) \
    else TILE_LAND(a, 64, SLICE, nextA, 0, 0, p0, P, count) \
    if (MODE == 0) TILE_LAND(b, 64, SLICE, nextB, 0, 0, p0, P, count) \
    if (hasState) [[unroll]] for (uint t = 0; t < TILES; t++) { \
        if ((FLAGS & STATES_F32) != 0) stageState(stateTile(t), state, p0, q0 + 64 * t); \
        else if (stateT) TILE_LAND(stateTile(t), 64, SLICE, nextS, t * RUNS, q0 + 64 * t, p0, P, Q) \
        else TILE_LAND(stateTile(t), SLICE, 64, nextS, t * RUNS, p0, q0 + 64 * t, Q, P) \
    } }

// Rows of what the chunk's tokens are read from, and with MODE 1 the products A that weigh them.
#define FETCH_C(rows) [[unroll]] for (uint t = 0; t < TILES; t++) TILE_FETCH(nextC, t * RUNS_C, 64, 64, rows, 0, q0 + 64 * t, Q, H * Q, count)
#define FETCH_A(given) TILE_EACH_RUN(64, 64, j, r, c, nextScores[2 * j] = scoresAt(given, r, c, count); nextScores[2 * j + 1] = scoresAt(given, r, c + 4, count);)

#define QUAD_E(t, r, c) nextE[t * ACC_RUN_COUNT + accRun]
uvec4 gatedOct(uvec4 oct, vec4 low, vec4 high, vec4 lastLow, vec4 lastHigh) {
    return uvec4(tilePack(unpack4(oct.xy) * decayFactor(low, lastLow)), tilePack(unpack4(oct.zw) * decayFactor(high, lastHigh)));
}
#else
#define QUAD_E(t, r, c) rowQuad(rowsE, r, q0 + 64 * t + c, Q, H * Q, count)
#define FETCH(s) {}
#define LAND(s) { \
    uint p0 = (s) * SLICE; \
    if (MODE == 1) { \
        TILE_STAGE(a, 64, SLICE, r, c, (widen(rowQuad(rowsA, r, p0 + c, P, H * P, count)) * vectorFactor(gatesA, r, p0 + c, P, count))) \
    } else { \
        TILE_ROWS(a, 64, SLICE, rowsA, 0, p0, P, H * P, count) \
    } \
    if (MODE == 0) TILE_ROWS(b, 64, SLICE, rowsB, 0, p0, P, H * P, count) \
    if (hasState) [[unroll]] for (uint t = 0; t < TILES; t++) stageState(stateTile(t), state, p0, q0 + 64 * t); }
#endif

void main() {
    uint groups = (Q + 64 * TILES - 1) / (64 * TILES);
    uint chunkIndex = gl_WorkGroupID.x / groups, tile0 = gl_WorkGroupID.x % groups * TILES;
    q0 = tile0 * 64;
    Chunk chunk = chunkAt(args.packed, args.N, chunkIndex, args.T, args.C);
    if (chunk.sequence < 0) return;
    uint count = chunk.tokens.count, lane = gl_LocalInvocationIndex;
    uint64_t token = uint64_t(chunk.tokens.first) * H + head;
    uint64_t state = (uint64_t(chunkIndex) * H + head) * P * Q;
    TBuf rowsA = atT(args.a, token * P), rowsB = atT(MODE == 0 ? args.b : args.a, token * P), narrow = atT(TBuf(uint64_t(args.states)), state);
    F32Buf gatesA = atF(args.gate, token * P);

    Tile a = Tile(0, tileStride(SLICE), false), b = Tile(OPERAND, tileStride(SLICE), false);
    Acc acc[PRODUCTS];
    [[unroll]] for (uint t = 0; t < PRODUCTS; t++) accZero(acc[t]);
    TBuf rowsC[2] = TBuf[2](atT(args.c, token * Q), atT(args.b, token * Q));
    F32Buf given[2] = F32Buf[2](atF(args.A, token * args.C), atF(args.gamma, token * args.C));
#ifdef MM_coopmat
    TILE_AHEAD(nextA, 1, 64, SLICE)
    TILE_AHEAD(nextB, 1, 64, SLICE)
    TILE_AHEAD(nextS, TILES, 64, SLICE)
    TILE_AHEAD(nextC, TILES, 64, 64)
    vec4 nextGates[2 * RUNS]; vec4 lastGates[2]; vec4 nextScores[2 * TILE_RUNS(64, 64)];
#endif
    const bool reads = hasState || MODE == 0;
    if (reads) FETCH(0)
#ifdef MM_coopmat
    if (MODE != 2 && areFew(SLICES)) FETCH_C(rowsC[0])
    if (MODE == 1 && areFew(SLICES)) FETCH_A(given[0])
#endif

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

    STRAIGHT for (uint s = 0; s < sliceTrip(SLICES) && reads; s++) {
        LAND(s)
        barrier();
#ifdef MM_coopmat
        if (s + 1 < SLICES) FETCH(s + 1)
#endif
        if (hasState) {
            mmaEach(acc, PRODUCTS, a, t, t < TILES ? stateTile(t) : T(b), SLICE)
        } else {
            mma(acc[PRODUCTS - 1], a, T(b), SLICE);
        }
        barrier();
    }

    if (MODE == 2) {
        F32Buf o = atF(args.o, token * Q), gates = atF(args.gate, token * Q);
        [[unroll]] for (uint t = 0; t < TILES; t++) {
            ACC_EACH(acc[t], r, tileC, x, {
                uint c = q0 + 64 * t + tileC;
                vec4 sum = rowQuadF(o, r, c, Q, H * Q, count) + args.inter * x * vectorFactor(gates, r, c, Q, count);
                storeTail4F(o, r * H * Q + c, r < count ? int(Q) - int(c) : 0, sum);
            })
        }
        return;
    }

    Tile A = Tile(0, tileStride(64), MODE == 1 && reverse);
    TBuf rowsE = atT(args.e, token * Q);
#ifdef MM_coopmat
    uvec2 nextE[TILES * ACC_RUN_COUNT];
    if (!isNull(args.dots)) [[unroll]] for (uint t = 0; t < TILES; t++) {
        ACC_PLACES(r, c, nextE[t * ACC_RUN_COUNT + accRun] = nextQuad(rowsE, r, q0 + 64 * t + c, Q, H * Q, count);)
    }
#endif
    STRAIGHT for (uint product = 0; product < GIVEN; product++) {
#ifdef MM_coopmat
        if (product > 0 || !areFew(SLICES)) FETCH_C(rowsC[product])
        if (MODE == 1 && (product > 0 || !areFew(SLICES))) FETCH_A(given[product])
#endif
        if (MODE == 0) {
            [[unroll]] for (uint t = 0; t < TILES; t++) accScaleRows(acc[t], 0);
            ACC_PUT(acc[PRODUCTS - 1], A, r, c, x, maskedScores(r, c, x, reverse, args.intra))
            barrier();                                     // the scratch lies where values will
        } else {
            if (product == 0) {
                [[unroll]] for (uint t = 0; t < TILES; t++) accScale(acc[t], args.inter);
            }
#ifdef MM_coopmat
            TILE_LAND_RUNS(A, 64, 64, r, c, uvec4(tilePack(triangle(nextScores[2 * tileJ], r, c, count)), tilePack(triangle(nextScores[2 * tileJ + 1], r, c + 4, count))))
#else
            TILE_STAGE(A, 64, 64, r, c, triangle(scoresAt(given[product], r, c, count), r, c, count))
#endif
        }
        STRAIGHT for (uint s0 = 0; s0 < sliceTrip(64 / SLICE) * SLICE; s0 += SLICE) {
#ifdef MM_coopmat
            [[unroll]] for (uint t = 0; t < TILES; t++) TILE_LAND(valueTile(t), SLICE, 64, nextC, t * RUNS_C + s0 / SLICE * TILE_RUNS(SLICE, 64), s0, q0 + 64 * t, Q, count)
            barrier();
#else
            [[unroll]] for (uint t = 0; t < TILES; t++) TILE_ROWS(valueTile(t), SLICE, 64, rowsC[product], s0, q0 + 64 * t, Q, H * Q, count)
            barrier();
#endif
            Tile columns = Tile(A.at + (A.transposed ? s0 * A.stride : s0 / 4), A.stride, A.transposed);
            mmaEach(acc, TILES, columns, t, valueTile(t), SLICE)
            barrier();
        }
    }

    TBuf o = atT(TBuf(uint64_t(args.o)), token * Q);
    [[unroll]] for (uint t = 0; t < TILES; t++) {
#ifdef MM_coopmat
        Tile rows = Tile(t * tileQuads(64, 64), tileStride(64), false);       // through shared memory: whole rows at a time
        accLay(acc[t], rows)
        barrier();
        TILE_EACH_RUN(64, 64, j, r, c,
            uvec4 oct = tilePool[(rows.at + r * rows.stride + c / 4) / 2];
            storeOct(o, r * H * Q + q0 + 64 * t + c, r < count ? int(Q) - int(q0 + 64 * t + c) : 0, oct.xy, oct.zw);)
#else
        ACC_STORE(acc[t], o, r, c, r * H * Q + q0 + 64 * t + c, (r < count ? int(Q) - int(q0 + 64 * t + c) : 0), x, x)
#endif
    }
    if (isNull(args.dots)) return;
    barrier();
    // What an invocation visits of one tile it visits of the others.
    [[unroll]] for (uint t = 0; t < TILES; t++) {
        ACC_EACH(acc[t], r, c, x, {
            uint i = r * 16 + c / 4;
            float share = dot(widen(QUAD_E(t, r, c)), x);
            share = r < count && q0 + 64 * t + c < Q ? share : 0.0;
            tilePutFloat(i, t == 0 ? share : share + tileGetFloat(i));
        })
    }
    barrier();
    if (lane >= count) return;
    float sum = 0;
    [[unroll]] for (uint i = 0; i < 16; i++) sum += tileGetFloat(lane * 16 + i);
    atF(args.dots, uint64_t(tile0 / TILES) * (isNull(args.packed) ? args.N * args.T : args.T) * H).v[(chunk.tokens.first + lane) * H + head] = sum;
}
