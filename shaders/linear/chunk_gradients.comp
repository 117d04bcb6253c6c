// All gradients of a chunk's rows of keys under a gate of channels, and the gate's. Readers i (q, a) read the state, which writers j (k, b) write to:
//   o_i,r = e^{G_r} i_r h + sum over j and s <= r of (sum over channels of i_r e^{G_r - G_s} j_s) v_j,s       with e_i the gradient of o_i, and A_ij that of the sums:
//   di_r = e^{G_r} (e_i,r h^T) + sum over j and s of A_ij,rs e^{G_r - G_s} j_s
//   dj_s = e^{G_C - G_s} (v_j,s D^T) + sum over i and r of A_ij,rs e^{G_r - G_s} i_r
//   dg_t = e^{G_C} (h . D) + sum over the chunk of j . (the first part of dj) + sum over r >= t of q dq + a da - k dk - b db
// where h is the state entering the chunk and D the gradient of the one leaving it. The first two parts of dg are the leaving state times D, made of the very
// products that the sum takes away again: what storage in 16 bits does to states cancels. e_q counts `scale` times, e_a `sign` times. A_qj are lower
// triangles, A_aj strict ones: A has what is below the diagonal, `diagonal` that of A_qj. EXCLUSIVE: a is gated by G_{r-1}, and its sum is over r > t.
// SAME: a is k, and dk is the sum of both.
// Weak decays (weak.glsl, rho): the second parts are e^{G - rho} (A J'), J' = j e^{rho - G}, and e^{rho - G} (A^T I'), I' = i e^{G - rho}. Strong ones level by
// level as chunk_scores.comp: with f the level's factors and X its tile (f i for rows, f j for columns), f_r (W X)_r is di of rows and dj of columns at once,
// W_rs = W_sr = A_rs for the level's pairs.
// q, a, k, b and their gradients [tokens, H, K]; eq, ea, vk, vb [tokens, H, V]; gate: G fp32 [tokens, H, K]; A [readers x writers, tokens, H, C];
// diagonal fp32 [writers, tokens, H]; h, D [chunks, H, K, V]; dg fp32 [tokens, H, K] or null.
// One workgroup a chunk and tile of 64 channels (x) and head (y).
// @variants T=f32|f16|bf16 MM=plain|coopmat
// @exclude T=f32 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/sequences.glsl"

layout(buffer_reference, scalar, buffer_reference_align = 8) buffer Args {
    TBuf q; TBuf a; TBuf k; TBuf b; TBuf eq; TBuf ea; TBuf vk; TBuf vb; F32Buf gate; TBuf A; F32Buf diagonal; TBuf h; TBuf D;
    TBuf dq; TBuf da; TBuf dk; TBuf db; F32Buf dg; I32Buf packed;
    uint N; uint T; uint C; uint H; uint K; uint V; uint tokens; float scale; float sign;
};
layout(push_constant, scalar) uniform Arguments { Args args; };

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // chunk_tiles.glsl, of plain arithmetic
layout(constant_id = 10) const uint READERS = 1;
layout(constant_id = 11) const uint WRITERS = 1;
layout(constant_id = 12) const bool EXCLUSIVE = false;
layout(constant_id = 13) const bool SAME = false;
layout(constant_id = 14) const bool FULL = false;          // widths are multiples of 64
layout(constant_id = 15) const bool DENSE = false;         // all chunks have 64 tokens
layout(constant_id = 16) const uint TILES = 1;             // ceil(K / 64)
layout(constant_id = 17) const uint SLICES = 1;            // ceil(V / 64)

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
#define TILE_SOLID FULL
#ifdef MM_coopmat
// Two tiles, or 64 x 64 floats: two workgroups live in 24 KiB each on NVIDIA.
#define WIDTH 64
#define TILE_SCRATCH 0
#define TILE_QUADS (2 * tileQuads(64, 64) > 2 * TILE_SCRATCH_OCTS ? 2 * tileQuads(64, 64) : 2 * TILE_SCRATCH_OCTS)
#define FLOATS 68
#define TRIP(slices) sliceTrip(slices)
#else
// Either rows and columns of a state, WIDTH wide, or W and WIDTH rows of a side; or 64 x 64 floats.
#define WIDTH SLICE
#define QUADS_STATES (2 * tileQuads(64, WIDTH))
#define QUADS_PAIRS (tileQuads(64, 64) + tileQuads(WIDTH, 64))
#define TILE_QUADS (QUADS_STATES > QUADS_PAIRS ? QUADS_STATES : QUADS_PAIRS)
#define FLOATS 64
#define TRIP(slices) ((slices) * 64 / WIDTH)
#endif
#define TILE_VECTOR 768
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "linear/levels.glsl"
#include "linear/weak.glsl"

// At the end an invocation has ROWS rows of one column, PARTS of them a column.
const uint PARTS = gl_WorkGroupSize.x / 64, ROWS = 64 / PARTS;

uint K = args.K, V = args.V, H = args.H, C = DENSE ? 64 : args.C, k0, count, middle;
TBuf rowsQ, rowsA, rowsK, rowsB, h, D;
F32Buf gates;
bool weak;

// The products' gradients of reader i and writer j.
TBuf scoresOf(uint64_t token, uint i, uint j) { return atT(args.A, (uint64_t(i * WRITERS + j) * args.tokens * H + token) * C); }
F32Buf diagonalOf(uint64_t token, uint j) { return atF(args.diagonal, uint64_t(j) * args.tokens * H + token); }

// The token whose decay gates row r of an exclusive reader; the first sees no decay.
uint tokenBefore(uint r) { return max(r, 1) - 1; }

// Four elements of W from (r, c) on, for a level.
vec4 levelWeights(TBuf A, uint r, uint c, uint width) {
    vec4 w = vec4(0);
    [[unroll]] for (uint e = 0; e < 4; e++) {
        uint row = max(r, c + e), column = min(r, c + e);
        bool isMine = row < count && isLevelPair(row, column, width);
        float read = loadT(A, isMine ? row * H * C + column : 0);          // no branch: all loads are under way at once
        w[e] = isMine ? read : 0.0;
    }
    return w;
}

// What the state's part of a strong chunk is multiplied with.
vec4 gateQuad(uint r, uint c) { return rowQuadF(gates, min(r, count - 1), k0 + c, K, H * K, count); }
vec4 entry(uint r, uint c, bool exclusive) { return exclusive ? (r == 0 ? vec4(1) : exp(gateQuad(tokenBefore(r), c))) : exp(gateQuad(r, c)); }
vec4 toLast(uint r, uint c) { return exp(gateQuad(count - 1, c) - gateQuad(r, c)); }

Tile x = Tile(0, tileStride(WIDTH), false), y = Tile(tileQuads(64, WIDTH), tileStride(WIDTH), false);
Tile W = Tile(0, tileStride(64), false), side = Tile(tileQuads(64, 64), tileStride(64), false);

#ifdef MM_coopmat
const uint RUNS = TILE_RUNS(64, 64);
#define FETCH_TOKENS(next, p, v0) TILE_FETCH(next, 0, 64, 64, p, 0, v0, V, H * V, count)
#define LAND_TOKENS(next, p, v0) TILE_LAND(x, 64, 64, next, 0, 0, v0, V, count)
#define FETCH_STATE(next, p, v0) TILE_FETCH(next, 0, 64, 64, p, k0, v0, V, V, K)
#define LAND_STATE(next, p, v0) TILE_LAND(y, 64, 64, next, 0, k0, v0, V, K)
// Rows of a side, and the gates.
#define FETCH_SIDE(next, p) TILE_FETCH(next, 0, 64, 64, p, 0, k0, K, H * K, count)
#define FETCH_GATES { \
    middleGates[0] = nextQuadF(gates, middle, k0 + lane % 8 * 8, K, H * K, count); \
    middleGates[1] = nextQuadF(gates, middle, k0 + lane % 8 * 8 + 4, K, H * K, count); \
    TILE_EACH_RUN(64, 64, j, r, c, \
        factors[2 * j] = nextQuadF(gates, r, k0 + c, K, H * K, count); \
        factors[2 * j + 1] = nextQuadF(gates, r, k0 + c + 4, K, H * K, count); \
        if (EXCLUSIVE) reads[2 * j] = nextQuadF(gates, tokenBefore(r), k0 + c, K, H * K, count); \
        if (EXCLUSIVE) reads[2 * j + 1] = nextQuadF(gates, tokenBefore(r), k0 + c + 4, K, H * K, count); \
        diagonals[j] = diagonalOf(token, 0).v[min(r, count - 1) * H]; \
        if (WRITERS > 1) diagonals[RUNS + j] = diagonalOf(token, 1).v[min(r, count - 1) * H];) }
// e^{G - rho} in the gates' place, where no decay is strong; else 1.
#define MAKE_FACTORS { \
    TILE_EACH_RUN(64, 64, j, r, c, [[unroll]] for (uint e = 0; e < 2; e++) { \
        factors[2 * j + e] = weak ? exp(factors[2 * j + e] - middleGates[e]) : vec4(1); \
        if (EXCLUSIVE) reads[2 * j + e] = weak ? exp((r == 0 ? vec4(0) : reads[2 * j + e]) - middleGates[e]) : vec4(1); \
    }) }
#define readFactor(i) (EXCLUSIVE ? reads[i] : factors[i])
#define octQ(j) nextQ[j]
#define octK(j) nextK[j]
#define octA(j) (SAME ? nextK[j] : nextA[j])
#define octB(j) nextB[j]

uvec4 nextScores(TBuf p, uint r, uint c) { return U32x4Buf(uint64_t(p) + uint64_t(DENSE || r < count && c < C ? r * H * C + c : 0) * 2ul).v; }
#define FETCH_SCORES(i, j) { \
    TBuf scores = scoresOf(token, i, j); \
    TILE_EACH_RUN(64, 64, tileJ, r, c, nextW[tileJ] = nextScores(scores, r, c);) }
#define LAND_SCORES(i, j) TILE_LAND_RUNS(W, 64, 64, r, c, (DENSE || r < count && c < C ? nextW[tileJ] : uvec4(0)))
uvec4 timesOct(uvec4 oct, vec4 low, vec4 high) { return uvec4(tilePack(unpack4(oct.xy) * low), tilePack(unpack4(oct.zw) * high)); }
#define LAND_READER(oct, factor) TILE_LAND_RUNS(side, 64, 64, r, c, timesOct(oct(tileJ), factor(2 * tileJ), factor(2 * tileJ + 1)))
#define LAND_WRITER(oct) TILE_LAND_RUNS(side, 64, 64, r, c, timesOct(oct(tileJ), 1 / factors[2 * tileJ], 1 / factors[2 * tileJ + 1]))
#define factorOf(i) factors[i]

// Visits an accumulator's octs (low, high) of rows of memory; each invocation has the same places of all of them.
#define EACH_OCT(acc, j, r, c, low, high, statements) { \
    accSpread(acc, 0) \
    barrier(); \
    TILE_EACH_RUN(64, 64, j, r, c, { vec4 low = tileFloats(0, r, c); vec4 high = tileFloats(0, r, c + 4); statements }) \
    barrier(); }
#define PUT_SHARES(shares) TILE_EACH_RUN(64, 64, j, r, c, \
    tilePool[r * 17 + c / 4] = floatBitsToUint(shares[2 * j]); \
    tilePool[r * 17 + c / 4 + 1] = floatBitsToUint(shares[2 * j + 1]);)
// Rows and columns that there are.
#define inside(r, c) (FULL && DENSE || r < count && k0 + c < K)
void storeRow(TBuf p, uint r, uint c, vec4 low, vec4 high) {
    if (FULL && DENSE) storeOct(p, r * H * K + k0 + c, 8, tilePack(low), tilePack(high));
    else storeOct(p, r * H * K + k0 + c, r < count ? int(K) - int(k0 + c) : 0, tilePack(low), tilePack(high));
}
#else
#define FETCH_TOKENS(next, p, v0) {}
#define LAND_TOKENS(next, p, v0) TILE_ROWS(x, 64, WIDTH, p, 0, v0, V, H * V, count)
#define FETCH_STATE(next, p, v0) {}
#define LAND_STATE(next, p, v0) TILE_ROWS(y, 64, WIDTH, p, k0, v0, V, V, K)

// e^{G - rho}, or 1 of strong decays; and its like of an exclusive reader.
vec4 factorAt(uint r, uint c) { return weak ? exp(gateQuad(r, c) - gateQuad(middle, c)) : vec4(1); }
vec4 readFactorAt(uint r, uint c) { return !EXCLUSIVE ? factorAt(r, c) : weak ? exp((r == 0 ? vec4(0) : gateQuad(tokenBefore(r), c)) - gateQuad(middle, c)) : vec4(1); }
vec4 sideQuad(TBuf p, uint r, uint c) { return widen(rowQuad(p, r, k0 + c, K, H * K, count)); }
#define LAND_SCORES(i, j) TILE_ROWS(W, 64, 64, scoresOf(token, i, j), 0, 0, C, H * C, count)
#define LAND_READER(p, factor) TILE_STAGE(side, WIDTH, 64, r, c, (sideQuad(p, s0 + r, c) * factor(s0 + r, c)))
#define LAND_WRITER(p) TILE_STAGE(side, WIDTH, 64, r, c, (sideQuad(p, s0 + r, c) / factorAt(s0 + r, c)))
float diagonalAt(uint64_t token, uint j, uint r) { return diagonalOf(token, j).v[min(r, count - 1) * H]; }
void storeRow(TBuf p, uint r, uint c, vec4 v) { storeTail4T(p, r * H * K + k0 + c, r < count ? int(K) - int(k0 + c) : 0, v); }
vec4 share(TBuf p, uint r, uint c, vec4 v) { return r < count && k0 + c < K ? v * sideQuad(p, r, c) : vec4(0); }
#endif

void main() {
    uint index = gl_WorkGroupID.x / TILES;
    k0 = gl_WorkGroupID.x % TILES * 64;
    uint first = index * 64;
    count = 64;
    if (!DENSE) {
        Chunk chunk = chunkAt(args.packed, args.N, index, args.T, C);
        if (chunk.sequence < 0) return;
        first = chunk.tokens.first;
        count = chunk.tokens.count;
    }
    uint head = gl_WorkGroupID.y, lane = gl_LocalInvocationIndex;
    middle = middleToken(count);
    uint64_t token = uint64_t(first) * H + head, state = (uint64_t(index) * H + head) * K;
    rowsQ = atT(args.q, token * K);
    rowsA = atT(READERS > 1 ? args.a : args.q, token * K);
    rowsK = atT(args.k, token * K);
    rowsB = atT(WRITERS > 1 ? args.b : args.k, token * K);
    gates = atF(args.gate, token * K);
    h = atT(args.h, state * V);
    D = atT(args.D, state * V);
    TBuf rowsEq = atT(args.eq, token * V), rowsEa = atT(READERS > 1 ? args.ea : args.eq, token * V);
    TBuf rowsVk = atT(args.vk, token * V), rowsVb = atT(WRITERS > 1 ? args.vb : args.vk, token * V);
    bool wantsGate = !isNull(args.dg);

    Acc sumQ, sumA, sumK, sumB;
    accZero(sumQ);
    accZero(sumA);
    accZero(sumK);
    accZero(sumB);

    uint own = min(k0 + lane % 64, K - 1);
    float rho = gates.v[middle * H * K + own], atEnd = gates.v[(count - 1) * H * K + own], atStart = EXCLUSIVE ? 0.0 : gates.v[own];
#ifdef MM_coopmat
    uvec4 nextX[RUNS]; uvec4 nextH[RUNS]; uvec4 nextD[RUNS]; uvec4 nextW[RUNS];
    uvec4 nextQ[RUNS]; uvec4 nextK[RUNS]; uvec4 nextA[RUNS]; uvec4 nextB[RUNS];
    vec4 factors[2 * RUNS]; vec4 reads[2 * RUNS]; vec4 middleGates[2];
    float diagonals[2 * RUNS];
    float dots[RUNS];
    [[unroll]] for (uint j = 0; j < RUNS; j++) dots[j] = 0;
#endif
    FETCH_TOKENS(nextX, rowsEq, 0)
    FETCH_STATE(nextH, h, 0)
    if (lane == 0) strongChannels = 0;
    barrier();
    if (lane < 64) {
        tileVector[lane] = rho;
        tileVector[64 + lane] = atEnd;
        if (!(max(atStart - rho, rho - atEnd) <= WEAKEST)) strongChannels = 1;
    }

    // Through the states.
    STRAIGHT for (uint s = 0; s < TRIP(SLICES); s++) {
        uint v0 = s * WIDTH;
        LAND_TOKENS(nextX, rowsEq, v0)
        LAND_STATE(nextH, h, v0)
        barrier();
        FETCH_STATE(nextD, D, v0)
        if (READERS > 1) FETCH_TOKENS(nextX, rowsEa, v0)
        else FETCH_TOKENS(nextX, rowsVk, v0)
        mma(sumQ, x, T(y), WIDTH);
        barrier();
        if (READERS > 1) {
            LAND_TOKENS(nextX, rowsEa, v0)
            barrier();
            FETCH_TOKENS(nextX, rowsVk, v0)
            mma(sumA, x, T(y), WIDTH);
            barrier();
        }
        LAND_TOKENS(nextX, rowsVk, v0)
        LAND_STATE(nextD, D, v0)
#ifdef MM_coopmat
        TILE_EACH_RUN(64, 64, j, r, c,
            uvec4 entering = landedOct(nextH[j], k0 + r, v0 + c, V, K);
            uvec4 leaving = landedOct(nextD[j], k0 + r, v0 + c, V, K);
            dots[j] += dot(unpack4(entering.xy), unpack4(leaving.xy)) + dot(unpack4(entering.zw), unpack4(leaving.zw));)
#endif
        barrier();
        if (WRITERS > 1) FETCH_TOKENS(nextX, rowsVb, v0)
        else if (s + 1 < SLICES) FETCH_TOKENS(nextX, rowsEq, v0 + WIDTH)
        if (s + 1 < SLICES) FETCH_STATE(nextH, h, v0 + WIDTH)
        mma(sumK, x, T(y), WIDTH);
        barrier();
        if (WRITERS > 1) {
            LAND_TOKENS(nextX, rowsVb, v0)
            barrier();
            if (s + 1 < SLICES) FETCH_TOKENS(nextX, rowsEq, v0 + WIDTH)
            mma(sumB, x, T(y), WIDTH);
            barrier();
        }
    }
#ifdef MM_coopmat
    FETCH_GATES
    FETCH_SIDE(nextK, rowsK)
    if (WRITERS > 1) FETCH_SIDE(nextB, rowsB)
    FETCH_SIDE(nextQ, rowsQ)
    if (READERS > 1 && !SAME) FETCH_SIDE(nextA, rowsA)
    FETCH_SCORES(0, 0)
#endif
    weak = strongChannels == 0;
    rho = tileVector[lane % 64];
    atEnd = tileVector[64 + lane % 64];
    barrier();
    // Columns of the sums: times what is left after the rows' own factors.
    if (lane < 64) {
        float entering = weak ? exp(rho) : 1.0;
        tileVector[lane] = args.scale * entering;
        tileVector[64 + lane] = args.sign * entering;
        tileVector[128 + lane] = weak ? exp(atEnd - rho) : 1.0;
    }
#ifdef MM_coopmat
    TILE_EACH_RUN(64, 64, j, r, c, tileVector[256 + r * 8 + c / 8] = dots[j];)
#endif
    barrier();
    accScaleColumns(sumQ, 0);
    accScaleColumns(sumK, 128);
    if (READERS > 1) accScaleColumns(sumA, 64);
    if (WRITERS > 1) accScaleColumns(sumB, 128);
    if (!weak) {
        ACC_MAP(sumQ, r, c, v, (v * entry(r, c, false)))
        if (READERS > 1) ACC_MAP(sumA, r, c, v, (v * entry(r, c, EXCLUSIVE)))
        ACC_MAP(sumK, r, c, v, (v * toLast(r, c)))
        if (WRITERS > 1) ACC_MAP(sumB, r, c, v, (v * toLast(r, c)))
        barrier();
    }

    // What the last gate gets: an invocation has a part of the rows of a column.
    uint column = lane % 64, part = lane / 64;
    float last = 0;
#ifdef MM_coopmat
    MAKE_FACTORS
    if (wantsGate) {
        for (uint i = part; i < 8; i += PARTS) last += tileVector[256 + column * 8 + i];
        last *= exp(atEnd);
        vec4 shares[2 * RUNS];
        EACH_OCT(sumK, j, r, c, low, high,
            shares[2 * j] = low * unpack4(octK(j).xy) / factors[2 * j];
            shares[2 * j + 1] = high * unpack4(octK(j).zw) / factors[2 * j + 1];)
        if (WRITERS > 1) {
            EACH_OCT(sumB, j, r, c, low, high,
                shares[2 * j] += low * unpack4(octB(j).xy) / factors[2 * j];
                shares[2 * j + 1] += high * unpack4(octB(j).zw) / factors[2 * j + 1];)
        }
        PUT_SHARES(shares)
        barrier();
        [[unroll]] for (uint i = 0; i < ROWS; i++) last += DENSE || part * ROWS + i < count ? tileGetFloat((part * ROWS + i) * FLOATS + column) : 0.0;
        barrier();
    }
#else
    if (wantsGate) {
        for (uint v = part; v < V; v += PARTS) last += loadT(h, own * V + v) * loadT(D, own * V + v);
        last *= exp(atEnd);
        ACC_EACH(sumK, r, c, v, tilePool[r * 16 + c / 4] = share(rowsK, r, c, v / factorAt(r, c));)
        if (WRITERS > 1) ACC_EACH(sumB, r, c, v, tilePool[r * 16 + c / 4] += share(rowsB, r, c, v / factorAt(r, c));)
        barrier();
        for (uint i = 0; i < ROWS; i++) last += tileGetFloat((part * ROWS + i) * FLOATS + column);
        barrier();
    }
#endif

    // Within the chunk.
    if (weak) {
#ifdef MM_coopmat
        // By turns one of the two tiles changes.
        LAND_SCORES(0, 0)
        LAND_WRITER(octK)
        barrier();
        if (READERS > 1) FETCH_SCORES(1, 0)
        mma(sumQ, W, side, 64);
        barrier();
        if (READERS > 1) {
            LAND_SCORES(1, 0)
            barrier();
            if (WRITERS > 1) FETCH_SCORES(1, 1)
            else FETCH_SCORES(0, 0)
            mma(sumA, W, side, 64);
            barrier();
            LAND_READER(octA, readFactor)
            barrier();
            mma(sumK, T(W), side, 64);
            barrier();
            if (WRITERS > 1) {
                LAND_SCORES(1, 1)
                barrier();
                FETCH_SCORES(0, 1)
                mma(sumB, T(W), side, 64);
                barrier();
                LAND_WRITER(octB)
                barrier();
                mma(sumA, W, side, 64);
                barrier();
                LAND_SCORES(0, 1)
                barrier();
                FETCH_SCORES(0, 0)
                mma(sumQ, W, side, 64);
                barrier();
                LAND_READER(octQ, factorOf)
                barrier();
                mma(sumB, T(W), side, 64);
                barrier();
            }
            LAND_SCORES(0, 0)
        }
        if (WRITERS == 1) LAND_READER(octQ, factorOf)
        barrier();
        mma(sumK, T(W), side, 64);
        barrier();
#else
#define PAIR(i, j, sumI, sumJ, rowsI, rowsJ, factorI) { \
        LAND_SCORES(i, j) \
        [[dont_unroll]] for (uint s0 = 0; s0 < 64; s0 += WIDTH) { \
            LAND_WRITER(rowsJ) \
            barrier(); \
            mma(sumI, Tile(W.at + s0 / 4, W.stride, false), side, WIDTH); \
            barrier(); \
            LAND_READER(rowsI, factorI) \
            barrier(); \
            mma(sumJ, Tile(W.at + s0 * W.stride, W.stride, true), side, WIDTH); \
            barrier(); \
        } }
        PAIR(0, 0, sumQ, sumK, rowsQ, rowsK, factorAt)
        if (READERS > 1) PAIR(1, 0, sumA, sumK, rowsA, rowsK, readFactorAt)
        if (WRITERS > 1) {
            PAIR(0, 1, sumQ, sumB, rowsQ, rowsB, factorAt)
            PAIR(1, 1, sumA, sumB, rowsA, rowsB, readFactorAt)
        }
#endif
    } else {
        [[dont_unroll]] for (uint pair = 0; pair < READERS * WRITERS; pair++) {
            uint i = pair / WRITERS, j = pair % WRITERS;
            TBuf A = scoresOf(token, i, j), rowsI = i == 0 ? rowsQ : rowsA, rowsJ = j == 0 ? rowsK : rowsB;
            bool exclusive = EXCLUSIVE && i == 1;
            [[dont_unroll]] for (uint width = C / 2; width > 0; width /= 2) {
                if (lane < 64) {
                    tileVector[lane] = isUpper(lane, width) ? 1.0 : 0.0;
                    tileVector[64 + lane] = isUpper(lane, width) ? 0.0 : 1.0;
                }
                TILE_STAGE(W, 64, 64, r, c, levelWeights(A, r, c, width))
                Acc z;
                accZero(z);
                [[dont_unroll]] for (uint s0 = 0; s0 < count; s0 += WIDTH) {
                    TILE_STAGE(side, WIDTH, 64, r, c, levelElements(rowsI, rowsJ, gates, s0 + r, k0 + c, width, K, H * K, count, exclusive))
                    barrier();
                    mma(z, Tile(W.at + s0 / 4, W.stride, false), side, WIDTH);
                    barrier();
                }
                ACC_MAP(z, r, c, v, (r < count && levelReference(r, width) < count ? v * levelFactor(gates, r, k0 + c, width, K, H * K, count, exclusive) : vec4(0)))
                Acc upper;
                accZero(upper);
                accAdd(upper, z);
                accScaleRows(upper, 0);
                accScaleRows(z, 64);
                if (i == 0) {
                    accAdd(sumQ, upper);
                } else {
                    accAdd(sumA, upper);
                }
                if (j == 0) {
                    accAdd(sumK, z);
                } else {
                    accAdd(sumB, z);
                }
                barrier();
            }
        }
    }

    // Completed and stored. sums: what invocations have of a column's q dq + a da - k dk - b db, those of an exclusive a from the token before on.
    TBuf dq = atT(args.dq, token * K), da = atT(args.da, token * K), dk = atT(args.dk, token * K), db = atT(args.db, token * K);
    float sums[ROWS];
    [[unroll]] for (uint i = 0; i < ROWS; i++) sums[i] = 0;
#ifdef MM_coopmat
    vec4 shares[2 * RUNS]; vec4 erased[2 * RUNS];
    [[unroll]] for (uint j = 0; j < 2 * RUNS; j++) shares[j] = erased[j] = vec4(0);
    if (READERS > 1) {
        EACH_OCT(sumA, j, r, c, low, high,
            low *= readFactor(2 * j);
            high *= readFactor(2 * j + 1);
            if (SAME) {
                erased[2 * j] = low;
                erased[2 * j + 1] = high;
            } else storeRow(da, r, c, low, high);
            float way = inside(r, c) ? 1.0 : 0.0;
            shares[2 * j] = way * low * unpack4(octA(j).xy);
            shares[2 * j + 1] = way * high * unpack4(octA(j).zw);)
        if (EXCLUSIVE && wantsGate) {
            PUT_SHARES(shares)
            barrier();
            [[unroll]] for (uint i = 0; i < ROWS; i++) sums[i] = part * ROWS + i < 63 ? tileGetFloat((part * ROWS + i + 1) * FLOATS + column) : 0.0;
            [[unroll]] for (uint j = 0; j < 2 * RUNS; j++) shares[j] = vec4(0);
            barrier();
        }
    }
    EACH_OCT(sumQ, j, r, c, low, high,
        low = low * factors[2 * j] + diagonals[j] * unpack4(octK(j).xy);
        high = high * factors[2 * j + 1] + diagonals[j] * unpack4(octK(j).zw);
        if (WRITERS > 1) {
            low += diagonals[RUNS + j] * unpack4(octB(j).xy);
            high += diagonals[RUNS + j] * unpack4(octB(j).zw);
        }
        storeRow(dq, r, c, low, high);
        float way = inside(r, c) ? 1.0 : 0.0;
        shares[2 * j] += way * low * unpack4(octQ(j).xy);
        shares[2 * j + 1] += way * high * unpack4(octQ(j).zw);)
    EACH_OCT(sumK, j, r, c, low, high,
        low = low / factors[2 * j] + diagonals[j] * unpack4(octQ(j).xy);
        high = high / factors[2 * j + 1] + diagonals[j] * unpack4(octQ(j).zw);
        float way = inside(r, c) ? -1.0 : 0.0;
        shares[2 * j] += way * low * unpack4(octK(j).xy);
        shares[2 * j + 1] += way * high * unpack4(octK(j).zw);
        if (SAME) {
            low += erased[2 * j];
            high += erased[2 * j + 1];
        }
        storeRow(dk, r, c, low, high);)
    if (WRITERS > 1) {
        EACH_OCT(sumB, j, r, c, low, high,
            low = low / factors[2 * j] + diagonals[RUNS + j] * unpack4(octQ(j).xy);
            high = high / factors[2 * j + 1] + diagonals[RUNS + j] * unpack4(octQ(j).zw);
            storeRow(db, r, c, low, high);
            float way = inside(r, c) ? -1.0 : 0.0;
            shares[2 * j] += way * low * unpack4(octB(j).xy);
            shares[2 * j + 1] += way * high * unpack4(octB(j).zw);)
    }
    if (!wantsGate) return;
    PUT_SHARES(shares)
#else
    if (READERS > 1) {
        ACC_EACH(sumA, r, c, v,
            vec4 d = v * readFactorAt(r, c);
            if (!SAME) storeRow(da, r, c, d);
            tilePool[r * 16 + c / 4] = share(rowsA, r, c, d);)
        if (EXCLUSIVE) {
            barrier();
            for (uint i = 0; i < ROWS; i++) sums[i] = part * ROWS + i < 63 ? tileGetFloat((part * ROWS + i + 1) * FLOATS + column) : 0.0;
            barrier();
        }
    }
    ACC_EACH(sumQ, r, c, v,
        vec4 d = v * factorAt(r, c) + diagonalAt(token, 0, r) * sideQuad(rowsK, r, c);
        if (WRITERS > 1) d += diagonalAt(token, 1, r) * sideQuad(rowsB, r, c);
        storeRow(dq, r, c, d);
        vec4 before = READERS > 1 && !EXCLUSIVE ? tilePool[r * 16 + c / 4] : vec4(0);
        tilePool[r * 16 + c / 4] = before + share(rowsQ, r, c, d);)
    if (WRITERS > 1) ACC_EACH(sumB, r, c, v,
        vec4 d = v / factorAt(r, c) + diagonalAt(token, 1, r) * sideQuad(rowsQ, r, c);
        storeRow(db, r, c, d);
        tilePool[r * 16 + c / 4] -= share(rowsB, r, c, d);)
    ACC_MAP(sumK, r, c, v, (v / factorAt(r, c) + diagonalAt(token, 0, r) * sideQuad(rowsQ, r, c)))
    ACC_EACH(sumK, r, c, v, tilePool[r * 16 + c / 4] -= share(rowsK, r, c, v);)
    if (SAME) {
        ACC_MAP(sumA, r, c, v, (v * readFactorAt(r, c)))
        accAdd(sumK, sumA);
    }
    ACC_EACH(sumK, r, c, v, storeRow(dk, r, c, v);)
    if (!wantsGate) return;
#endif
    barrier();
    float sum = 0;
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        sums[i] += tileGetFloat((part * ROWS + i) * FLOATS + column);
        sum += sums[i];
    }
    tileVector[part * 64 + column] = sum;
    tileVector[256 + part * 64 + column] = last;
    barrier();
    if (k0 + column >= K) return;
    sum = 0;
    for (uint p = 0; p < PARTS; p++) sum += tileVector[256 + p * 64 + column] + (p > part ? tileVector[p * 64 + column] : 0.0);
    F32Buf dg = atF(args.dg, token * K + k0);
    uint at = (part * ROWS + ROWS - 1) * H * K + column;
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        sum += sums[ROWS - 1 - i];
        if (DENSE || part * ROWS + ROWS - 1 - i < count) dg.v[at - i * H * K] = sum;
    }
}
