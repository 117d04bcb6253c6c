// Gradients of q and k under a vector gate. Within the chunk (AINTRA backward), channel by channel:
//   dq_r = sum over s <= r of dA_rs e^{G_r - G_s} k_s      dk_s = sum over r >= s of dA_rs e^{G_r - G_s} q_r
// Weak decays (weak.glsl, rho): dq = e^{G - rho} (dA K'), K' = k e^{rho - G}, and dk = e^{rho - G} (dA^T Q'), Q' = q e^{G - rho}.
// Strong ones level by level as chunk_intra.comp: with f the level's factors and X its tile (f q for rows, f k for columns), f_i (W X)_i is dq of rows
// and dk of columns at once, W_rs = W_sr = dA_rs for the level's pairs. The diagonal adds dA_rr k_r and dA_rr q_r.
// EXCLUSIVE: rows are gated by G_{r-1}, and there is no diagonal. ADD: dq and dk are added to.
// With STATES also what goes through the states h entering and D leaving the chunk, and the gradient of g:
//   dq_r += scale e^{G_r} (h do_r)      dk_s += e^{G_C - G_s} (D v_s)      dg_t = last + sum over r >= t of q_r dq_r - k_r dk_r
// q, k [tokens, H, K]; v, do [tokens, H, V]; gate: G fp32 [tokens, H, K]; dA fp32 [tokens, H, C]; h, D [chunks, H, K, V]; last fp32 [chunks, H, K];
// dq, dk [tokens, H, K] in fp32, with STATES in T; dg fp32 [tokens, H, K] or null. widths = K + 65536 V.
// One workgroup a chunk and tile of 64 channels (x) and head (y).
// @variants T=f32|f16|bf16 MM=plain|coopmat
// @exclude T=f32 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/sequences.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf q; TBuf k; TBuf v; TBuf dO; F32Buf gate; F32Buf dA; TBuf h; TBuf D; F32Buf last; F32Buf dq; F32Buf dk; F32Buf dg; I32Buf packed;
    uint N; uint T; uint C; uint H; uint widths; float scale;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // chunk_tiles.glsl
layout(constant_id = 10) const bool EXCLUSIVE = false;
layout(constant_id = 11) const bool ADD = false;           // not with STATES
layout(constant_id = 12) const bool STATES = false;        // not with EXCLUSIVE
layout(constant_id = 13) const uint SLICES = 1;            // ceil(V / SLICE)
layout(constant_id = 14) const bool FULL = false;          // widths are multiples of 64

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
#define TILE_SOLID FULL
// Either 64 rows of do or v and of a state; or W and rows of one side's tile, where there is room of both; or 64 x 64 floats.
#define QUADS_STATES (2 * tileQuads(64, SLICE))
#define QUADS_PAIRS (tileQuads(64, 64) + (SLICE == 64 ? 2 : 1) * tileQuads(SLICE, 64))
#ifdef MM_coopmat
#define QUADS_FLOATS (2 * 64 * 17)
#else
#define QUADS_FLOATS 1024
#endif
#define QUADS_PRODUCTS (QUADS_STATES > QUADS_PAIRS ? QUADS_STATES : QUADS_PAIRS)
#define QUADS_USED (QUADS_PRODUCTS > QUADS_FLOATS ? QUADS_PRODUCTS : QUADS_FLOATS)
#ifdef MM_coopmat
#define TILE_SCRATCH 0
#define TILE_QUADS (QUADS_USED > 2 * TILE_SCRATCH_OCTS ? QUADS_USED : 2 * TILE_SCRATCH_OCTS)
#else
#define TILE_QUADS QUADS_USED
#endif
#define TILE_VECTOR 256
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "linear/levels.glsl"
#include "linear/weak.glsl"

uint K = args.widths & 0xffff, V = args.widths >> 16, H = args.H, k0, count, middle;
TBuf rowsQ, rowsK;
F32Buf gates, dA;
bool weak;

// The token whose decay gates row r of q.
uint readToken(uint r) { return EXCLUSIVE ? max(r, 1) - 1 : r; }

// G - rho, rows past the last token as the last.
vec4 fromMiddle(uint r, uint c) {
    return rowQuadF(gates, min(r, count - 1), k0 + c, K, H * K, count) - rowQuadF(gates, middle, k0 + c, K, H * K, count);
}

vec4 toLast(uint r, uint c) {
    return rowQuadF(gates, count - 1, k0 + c, K, H * K, count) - rowQuadF(gates, min(r, count - 1), k0 + c, K, H * K, count);
}

// Four elements of dA from (r, c) on, nothing but what is below the diagonal: that is added unrounded, as it has to cancel in dg.
vec4 nextTriangle(uint r, uint c) { return load4F(dA, r < count && c < args.C ? r * H * args.C + c : 0); }
vec4 triangle(vec4 x, uint r, uint c) { return r < count && c < args.C ? mix(vec4(0), x, lessThan(uvec4(c) + uvec4(0, 1, 2, 3), uvec4(r))) : vec4(0); }

// Four elements of W from (r, c) on.
vec4 levelWeights(uint r, uint c, uint width) {
    vec4 w = vec4(0);
    [[unroll]] for (uint e = 0; e < 4; e++) {
        uint row = max(r, c + e), column = min(r, c + e);
        bool isMine = row < count && isLevelPair(row, column, width);
        float read = dA.v[isMine ? row * H * args.C + column : 0];     // no branch: all loads are under way at once
        w[e] = isMine ? read : 0.0;
    }
    return w;
}

#ifdef MM_coopmat
// One slice of v or do and of a state: step s of the walk over do and h, v and D by turns.
const uint RUNS = TILE_RUNS(64, SLICE), SETS = setsOf(SLICES);
#define FETCH_STATE(s) { \
    uint v0 = (s) / 2 * SLICE, set = (s) % SETS * RUNS; \
    TBuf tokens = (s) % 2 == 0 ? rowsO : rowsV, rowsS = (s) % 2 == 0 ? h : D; \
    TILE_FETCH(nextA, set, 64, SLICE, tokens, 0, v0, V, H * V, count) \
    TILE_FETCH(nextB, set, 64, SLICE, rowsS, k0, v0, V, V, K) }
#define LAND_STATE(s) { \
    uint v0 = (s) / 2 * SLICE, set = (s) % SETS * RUNS; \
    TILE_LAND(x, 64, SLICE, nextA, set, 0, v0, V, count) \
    TILE_LAND_SCALED(y, 64, SLICE, nextB, set, k0, v0, V, K, r, tileVector[(s) % 2 * 64 + r]) }
// Rows of q and k, G, and dA.
const uint ROW_RUNS = TILE_RUNS(64, 64);
#define FETCH_PAIRS { \
    middleGates[0] = nextQuadF(gates, middle, k0 + lane % 8 * 8, K, H * K, count); \
    middleGates[1] = nextQuadF(gates, middle, k0 + lane % 8 * 8 + 4, K, H * K, count); \
    TILE_FETCH(nextQ, 0, 64, 64, rowsQ, 0, k0, K, H * K, count) \
    TILE_FETCH(nextK, 0, 64, 64, rowsK, 0, k0, K, H * K, count) \
    TILE_EACH_RUN(64, 64, j, r, c, \
        nextGates[2 * j] = nextQuadF(gates, r, k0 + c, K, H * K, count); \
        nextGates[2 * j + 1] = nextQuadF(gates, r, k0 + c + 4, K, H * K, count); \
        if (EXCLUSIVE) nextReads[2 * j] = nextQuadF(gates, readToken(r), k0 + c, K, H * K, count); \
        if (EXCLUSIVE) nextReads[2 * j + 1] = nextQuadF(gates, readToken(r), k0 + c + 4, K, H * K, count); \
        diagonal[j] = dA.v[min(r, count - 1) * (H * args.C + 1)]; \
        nextW[2 * j] = nextTriangle(r, c); \
        nextW[2 * j + 1] = nextTriangle(r, c + 4);) }
#define readGates(j) (EXCLUSIVE ? nextReads[j] : nextGates[j])
#define ROW_RUN(s0) ((s0) / SLICE * TILE_RUNS(SLICE, 64) + tileJ)
#define LAND_QUERIES(tile, s0) TILE_LAND_RUNS(tile, SLICE, 64, r, c, gatedOct(landedOct(nextQ[ROW_RUN(s0)], (s0) + r, k0 + c, K, count), \
    exp(readGates(2 * ROW_RUN(s0)) - middleGates[0]), exp(readGates(2 * ROW_RUN(s0) + 1) - middleGates[1])))
#define LAND_KEYS(tile, s0) TILE_LAND_RUNS(tile, SLICE, 64, r, c, gatedOct(landedOct(nextK[ROW_RUN(s0)], (s0) + r, k0 + c, K, count), \
    exp(middleGates[0] - nextGates[2 * ROW_RUN(s0)]), exp(middleGates[1] - nextGates[2 * ROW_RUN(s0) + 1])))
uvec4 gatedOct(uvec4 oct, vec4 low, vec4 high) { return uvec4(tilePack(unpack4(oct.xy) * low), tilePack(unpack4(oct.zw) * high)); }

// Gradients of one side, as they lie in the pool in fp32: scaled or completed, and stored in whole rows; shares gather q dq - k dk.
void finishOct(bool isKey, uint r, uint c, uvec4 own, uvec4 other, vec4 gateLow, vec4 gateHigh, vec4 middleLow, vec4 middleHigh, float diagonal,
    inout vec4 shareLow, inout vec4 shareHigh) {
    vec4 low = tileFloats(0, r, c), high = tileFloats(0, r, c + 4);
    if (weak) {
        low *= exp(isKey ? middleLow - gateLow : gateLow - middleLow);
        high *= exp(isKey ? middleHigh - gateHigh : gateHigh - middleHigh);
    }
    if (!EXCLUSIVE) {
        low += diagonal * unpack4(other.xy);
        high += diagonal * unpack4(other.zw);
    }
    uint at = r * H * K + k0 + c;
    int left = r < count ? int(K) - int(k0 + c) : 0;
    uint64_t token = (uint64_t(rowsQ) - uint64_t(args.q)) / T_SIZE;
    if (!STATES) {
        F32Buf wide = atF(isKey ? args.dk : args.dq, token);
        storeTail4F(wide, at, left, ADD ? low + loadTail4F(wide, at, left) : low);
        storeTail4F(wide, at + 4, left - 4, ADD ? high + loadTail4F(wide, at + 4, left - 4) : high);
        return;
    }
    storeOct(atT(TBuf(uint64_t(isKey ? args.dk : args.dq)), token), at, left, tilePack(low), tilePack(high));
    float way = left > 0 ? (isKey ? -1.0 : 1.0) : 0.0;
    shareLow += way * low * unpack4(own.xy);
    shareHigh += way * high * unpack4(own.zw);
}
#else
#define LAND_STATE(s) { \
    uint v0 = (s) / 2 * SLICE, side = (s) % 2 * 64; \
    TBuf tokens = (s) % 2 == 0 ? rowsO : rowsV, rowsS = (s) % 2 == 0 ? h : D; \
    TILE_ROWS(x, 64, SLICE, tokens, 0, v0, V, H * V, count) \
    TILE_SCALED_ROWS(y, 64, SLICE, rowsS, k0, v0, V, V, K, r, tileVector[side + r]) }

// Four gradients of row r, of q or with isKey of k: scaled or completed, stored, and their share of dg left in the pool.
void finish(bool isKey, uint r, uint c, vec4 x) {
    uint at = r * H * K + k0 + c;
    int left = r < count ? int(K) - int(k0 + c) : 0;
    if (weak) {
        x *= exp(isKey ? -fromMiddle(r, c) : fromMiddle(readToken(r), c));
    }
    if (!EXCLUSIVE) {
        x += dA.v[min(r, count - 1) * (H * args.C + 1)] * widen(loadQuad(isKey ? rowsQ : rowsK, at, left));
    }
    uint64_t token = (uint64_t(rowsQ) - uint64_t(args.q)) / T_SIZE;
    F32Buf wide = atF(isKey ? args.dk : args.dq, token);
    if (!STATES) {
        if (ADD) x += loadTail4F(wide, at, left);
        storeTail4F(wide, at, left, x);
        return;
    }
    storeTail4T(atT(TBuf(uint64_t(isKey ? args.dk : args.dq)), token), at, left, x);
    vec4 share = left > 0 ? x * widen(loadQuad(isKey ? rowsK : rowsQ, at, left)) : vec4(0);
    uint i = r * 16 + c / 4;
    tilePool[i] = isKey ? tilePool[i] - share : share;
}
#define LAND_QUERIES(tile, s0) TILE_STAGE(tile, SLICE, 64, r, c, (widen(rowQuad(rowsQ, s0 + r, k0 + c, K, H * K, count)) * exp(fromMiddle(readToken(s0 + r), c))))
#define LAND_KEYS(tile, s0) TILE_STAGE(tile, SLICE, 64, r, c, (widen(rowQuad(rowsK, s0 + r, k0 + c, K, H * K, count)) * exp(-fromMiddle(s0 + r, c))))
#endif

void main() {
    uint tiles = (K + 63) / 64, index = gl_WorkGroupID.x / tiles;
    k0 = gl_WorkGroupID.x % tiles * 64;
    Chunk chunk = chunkAt(args.packed, args.N, index, args.T, args.C);
    if (chunk.sequence < 0) return;
    uint head = gl_WorkGroupID.y, lane = gl_LocalInvocationIndex;
    count = chunk.tokens.count;
    middle = middleToken(count);
    uint64_t token = uint64_t(chunk.tokens.first) * H + head, state = (uint64_t(index) * H + head) * K;
    rowsQ = atT(args.q, token * K);
    rowsK = atT(args.k, token * K);
    gates = atF(args.gate, token * K);
    dA = atF(args.dA, token * args.C);

    Acc sumQ, sumK;
    accZero(sumQ);
    accZero(sumK);
    TBuf rowsV = atT(args.v, token * V), rowsO = atT(args.dO, token * V), h = atT(args.h, state * V), D = atT(args.D, state * V);
    uint own = min(k0 + lane % 64, K - 1);
    float rho = gates.v[middle * H * K + own], atEnd = gates.v[(count - 1) * H * K + own];
#ifdef MM_coopmat
    TILE_AHEAD(nextA, SETS, 64, SLICE)
    TILE_AHEAD(nextB, SETS, 64, SLICE)
    uvec4 nextQ[ROW_RUNS]; uvec4 nextK[ROW_RUNS]; vec4 nextGates[2 * ROW_RUNS]; vec4 nextReads[2 * ROW_RUNS]; vec4 middleGates[2]; vec4 nextW[2 * ROW_RUNS];
    float diagonal[ROW_RUNS];
    if (STATES) FETCH_STATE(0)
    if (STATES) [[unroll]] for (uint s = 1; s < SETS; s++) FETCH_STATE(s)
#endif
    weak = isWeakChunk(gates, K, H * K, count);
    if (STATES) {
        Tile x = Tile(0, tileStride(SLICE), false), y = Tile(tileQuads(64, SLICE), tileStride(SLICE), false);
        // Rows of the states: times what is left after the rows' own factors.
        if (lane < 64) {
            tileVector[lane] = args.scale * (weak ? exp(rho) : 1.0);
            tileVector[64 + lane] = weak ? exp(atEnd - rho) : 1.0;
        }
        barrier();
        STRAIGHT for (uint s = 0; s < 2 * sliceTrip(SLICES); s += 2) {
            LAND_STATE(s)
            barrier();
#ifdef MM_coopmat
            if (s + SETS < 2 * SLICES) FETCH_STATE(s + SETS)
#endif
            mma(sumQ, x, T(y), SLICE);
            barrier();
            LAND_STATE(s + 1)
            barrier();
#ifdef MM_coopmat
            if (s + 1 + SETS < 2 * SLICES) FETCH_STATE(s + 1 + SETS)
            if (areFew(SLICES) && s + 2 >= 2 * SLICES) FETCH_PAIRS
#endif
            mma(sumK, x, T(y), SLICE);
            barrier();
        }
        if (!weak) {
            ACC_MAP(sumQ, r, c, x, (x * exp(rowQuadF(gates, min(r, count - 1), k0 + c, K, H * K, count))))
            ACC_MAP(sumK, r, c, x, (x * exp(toLast(r, c))))
            barrier();
        }
    }

#ifdef MM_coopmat
    if (!STATES || !areFew(SLICES)) FETCH_PAIRS
#endif
    Tile W = Tile(0, tileStride(64), false), x = Tile(tileQuads(64, 64), tileStride(64), false);
    Tile y = Tile(tileQuads(64, 64) + (SLICE == 64 ? tileQuads(SLICE, 64) : 0), tileStride(64), false);
    if (weak) {
#ifdef MM_coopmat
        TILE_LAND_RUNS(W, 64, 64, r, c, uvec4(tilePack(triangle(nextW[2 * tileJ], r, c)), tilePack(triangle(nextW[2 * tileJ + 1], r, c + 4))))
#else
        TILE_STAGE(W, 64, 64, r, c, triangle(nextTriangle(r, c), r, c))
#endif
        STRAIGHT for (uint s0 = 0; s0 < 64; s0 += SLICE) {
            LAND_KEYS(x, s0)
            if (SLICE == 64) LAND_QUERIES(y, s0)
            barrier();
            mma(sumQ, Tile(W.at + s0 / 4, W.stride, false), x, SLICE);
            if (SLICE != 64) {
                barrier();
                LAND_QUERIES(y, s0)
                barrier();
            }
            mma(sumK, Tile(W.at + s0 * W.stride, W.stride, true), y, SLICE);
            barrier();
        }
    } else {
        [[dont_unroll]] for (uint width = args.C / 2; width > 0; width /= 2) {
            if (lane < 64) {
                tileVector[lane] = isUpper(lane, width) ? 1.0 : 0.0;
                tileVector[64 + lane] = isUpper(lane, width) ? 0.0 : 1.0;
            }
            TILE_STAGE(W, 64, 64, r, c, levelWeights(r, c, width))
            Acc z;
            accZero(z);
            [[dont_unroll]] for (uint s0 = 0; s0 < count; s0 += SLICE) {
                TILE_STAGE(x, SLICE, 64, r, c, levelElements(rowsQ, rowsK, gates, s0 + r, k0 + c, width, K, H * K, count, EXCLUSIVE))
                barrier();
                mma(z, Tile(W.at + s0 / 4, W.stride, false), x, SLICE);
                barrier();
            }
            ACC_MAP(z, r, c, v, (r < count && levelReference(r, width) < count ? v * levelFactor(gates, r, k0 + c, width, K, H * K, count, EXCLUSIVE) : vec4(0)))
            Acc rows;
            accZero(rows);
            accAdd(rows, z);
            accScaleRows(rows, 0);
            accAdd(sumQ, rows);
            accScaleRows(z, 64);
            accAdd(sumK, z);
            barrier();
        }
    }

#ifdef MM_coopmat
    vec4 share[2 * ROW_RUNS];
    TILE_EACH_RUN(64, 64, j, r, c, share[2 * j] = share[2 * j + 1] = vec4(0);)
    accSpread(sumQ, 0)
    barrier();
    TILE_EACH_RUN(64, 64, j, r, c, finishOct(false, r, c, nextQ[j], nextK[j], readGates(2 * j), readGates(2 * j + 1), middleGates[0], middleGates[1], diagonal[j], share[2 * j], share[2 * j + 1]);)
    barrier();
    accSpread(sumK, 0)
    barrier();
    TILE_EACH_RUN(64, 64, j, r, c, finishOct(true, r, c, nextK[j], nextQ[j], nextGates[2 * j], nextGates[2 * j + 1], middleGates[0], middleGates[1], diagonal[j],
        share[2 * j], share[2 * j + 1]);)
    if (STATES) {
        barrier();
        TILE_EACH_RUN(64, 64, j, r, c, tilePool[r * 16 + c / 4] = floatBitsToUint(share[2 * j]); tilePool[r * 16 + c / 4 + 1] = floatBitsToUint(share[2 * j + 1]);)
    }
#else
    ACC_EACH(sumQ, r, c, v, finish(false, r, c, v);)
    ACC_EACH(sumK, r, c, v, finish(true, r, c, v);)
#endif
    if (!STATES || isNull(args.dg)) return;
    // Columns of the pool's floats, summed from the last row up: an invocation has some rows of a column.
    barrier();
    uint parts = gl_WorkGroupSize.x / 64, rows = 64 / parts, column = lane % 64, part = lane / 64, end = part * rows + rows;
    float sum = 0;
    for (uint r = 0; r < rows; r++) sum += tileGetFloat((end - 1 - r) * 64 + column);
    tileVector[lane] = sum;
    barrier();
    if (k0 + column >= K) return;
    sum = atF(args.last, state).v[k0 + column];
    for (uint p = part + 1; p < parts; p++) sum += tileVector[p * 64 + column];
    F32Buf dg = atF(args.dg, token * K);
    for (uint r = 0; r < rows; r++) {
        sum += tileGetFloat((end - 1 - r) * 64 + column);
        if (end - 1 - r < count) dg.v[(end - 1 - r) * H * K + k0 + column] = sum;
    }
}
