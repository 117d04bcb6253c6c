// Gradients of the delta rule's rows under a decay of heads or none, after the walk in reverse (delta_state.comp). With X = M^T dV~, the gradient of what M
// multiplies, what is erased is one more reader of the state:
//   S_rs = scale e^{G_r - G_s} (do_r . V~_s), s <= r;      P_rs = -beta_r e^{Ga_r - G_s} (X_r . V~_s), s < r
//   dq_r = scale e^{G_r} (do_r h^T) + sum_s S_rs k_s
//   da_r = -beta_r e^{Ga_r} (X_r h^T) + sum_s P_rs k_s;    dv = beta X;  dbeta = v . X + a . da / beta
//   dk_s = e^{G_C - G_s} (V~_s D^T) + sum_r S_rs q_r + sum_r P_rs a_r
// where h enters the chunk and D is the gradient of the state that leaves it; Ga is G, EXCLUSIVE that of the token before. What a token gives to the gradient of
// G is q . dq + a . da - k . dk, EXCLUSIVE with a . da of the token after it. (That is q . dq - v . dv too, but dg's errors were larger that way: bench/NOTES.md.)
// X, values (V~), v, e (do), dv [tokens, H, V]; q, a, k, dq, da, dk [tokens, H, K]; h, D [chunks, H, K, V]; with SAME (a is k) da is null
// and dk the sum of both. beta, dBeta, dG fp32 [tokens, H]; leaving fp32 [chunks, H], the state that leaves the chunk times D: e^{G_C} h . D and what D gives to k, times k.
// A workgroup has a chunk (x) of a head (y), a subgroup whole rows of it: of do, X and V~ in registers (HELD; a CPU driver, or with V above 128, as they are
// needed). S and P^T lie in one tile of 80 columns: S up to the blocks on its diagonal, P^T 16 columns further right, from there on. All else passes
// through one place of 64 x 64.
// @variants T=f16|bf16 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/sequences.glsl"
#extension GL_KHR_shader_subgroup_shuffle : require
#extension GL_KHR_shader_subgroup_arithmetic : require

layout(buffer_reference, scalar, buffer_reference_align = 8) buffer Args {
    TBuf X; TBuf values; TBuf v; TBuf e; TBuf q; TBuf a; TBuf k; TBuf h; TBuf D; F32Buf beta; F32Buf gate;
    TBuf dq; TBuf da; TBuf dk; TBuf dv; F32Buf dBeta; F32Buf dG; F32Buf leaving; I32Buf packed;
    uint N; uint T; uint C; uint H; uint K; uint V; float scale;
};
layout(push_constant, scalar) uniform Arguments { Args args; };

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint GATE = 0;
layout(constant_id = 10) const bool EXCLUSIVE = false;
layout(constant_id = 11) const bool SAME = false;
layout(constant_id = 12) const bool FULL = false;          // widths are multiples of 64
layout(constant_id = 13) const bool DENSE = false;         // every chunk has 64 tokens
layout(constant_id = 14) const uint TILES = 1;             // ceil(K / 64)
layout(constant_id = 15) const uint SLICES = 1;            // ceil(V / 64)

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
#define TILE_SOLID FULL
#define TILE_OWN_ROWS
#define TILE_BARE
#define CHAIN false
#define QUADS_SCORES tileQuads(64, 80)
#define QUADS_PIECE tileQuads(64, 64)
// A CPU driver's left operands have a place of their own.
#define TILE_QUADS (QUADS_SCORES + (TILE_CPU ? 2 : 1) * QUADS_PIECE)
#define TILE_VECTOR 528
#define TILE_NUMBERS 448
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "delta/gates.glsl"

// tileVector.
const uint G = 0, GA = 64, BETA = 128, READS = 192, ERASES = 256, WRITES = 320, STEPS = 384, LAST = 464;

// A beta that is less counts as this in da, which dbeta is made of.
#ifdef T_f16
const float LEAST = 1.0 / 4096;
#else
const float LEAST = 1e-20;
#endif

const bool HELD = !TILE_CPU && SLICES <= 2;
const uint KEPT = HELD ? SLICES : 1, RUNS = TILE_RUNS(64, 64);
#define SCORES Tile(0, tileStride(80), false)
#define ERASED Tile(4, tileStride(80), false)
#define BEFORE Tile(0, tileStride(64), false)              // where SCORES will be
#define PIECE Tile(QUADS_SCORES, tileStride(64), false)
#define OPERAND Tile(QUADS_SCORES + (TILE_CPU ? QUADS_PIECE : 0u), tileStride(64), false)

uint K = args.K, V = args.V, H = args.H, C = DENSE ? 64 : args.C;
float scale = args.scale;

float decay(float d) { return GATE == HEADS ? exp(min(d, 0)) : 1.0; }

#define FETCH_VALUES(next, p, s) TILE_FETCH(next, 0, 64, 64, p, 0, (s) * 64, V, H * V, rows)
#define LAND_VALUES(tile, next, s) TILE_LAND(tile, 64, 64, next, 0, 0, (s) * 64, V, rows)
#define FETCH_KEYS(next, p, t) TILE_FETCH(next, 0, 64, 64, p, 0, (t) * 64, K, H * K, rows)
#define LAND_KEYS(next, t) TILE_LAND(PIECE, 64, 64, next, 0, 0, (t) * 64, K, rows)
#define FETCH_STATE(next, start, p, t, s) TILE_FETCH(next, start, 64, 64, p, (t) * 64, (s) * 64, V, V, rowsK)
// An invocation has the same elements of the state and of its gradient.
#define DOT_STATES(start, t, s) TILE_EACH_RUN(64, 64, j, r, c, \
    uvec4 entering = landedOct(nextH[(start) + j], (t) * 64 + r, (s) * 64 + c, V, rowsK); \
    uvec4 change = landedOct(nextD[(start) + j], (t) * 64 + r, (s) * 64 + c, V, rowsK); \
    kept += dot(unpack4(entering.xy), unpack4(change.xy)) + dot(unpack4(entering.zw), unpack4(change.zw));)
#define LAND_STATE(next, start, t, s) TILE_LAND(PIECE, 64, 64, next, start, (t) * 64, (s) * 64, V, rowsK)

// acc += a b over the blocks of 16 of a's columns, l, that `where` names for a's rows r.
#define mmaBlocks(acc, a, b, r, l, where) if (accActive()) { \
    const Tile tileA = a, tileB = b; \
    [[unroll]] for (uint tileI = 0; tileI < PER_M; tileI++) { \
        const uint r = accRow(tileI) / 16; \
        [[unroll]] for (uint tileL = 0; tileL < tileTrip(64); tileL += FRAG_K) { \
            const uint l = tileL / 16; \
            if (where) { \
                FragA tileFA; \
                if (tileA.transposed) coopMatLoad(tileFA, tilePool, (tileA.at + tileL * tileA.stride + accRow(tileI) / 4) >> 1, tileA.stride >> 1, gl_CooperativeMatrixLayoutColumnMajor); \
                else coopMatLoad(tileFA, tilePool, (tileA.at + accRow(tileI) * tileA.stride + tileL / 4) >> 1, tileA.stride >> 1, gl_CooperativeMatrixLayoutRowMajor); \
                [[unroll]] for (uint tileJ = 0; tileJ < PER_N; tileJ++) { \
                    FragB tileFB; \
                    coopMatLoad(tileFB, tilePool, (tileB.at + tileL * tileB.stride + accColumn(tileJ) / 4) >> 1, tileB.stride >> 1, gl_CooperativeMatrixLayoutRowMajor); \
                    acc.f[tileI * PER_N + tileJ] = coopMatMulAdd(tileFA, tileFB, acc.f[tileI * PER_N + tileJ]); \
                } \
            } \
        } \
    } }
#define LOWER(r, l) (l <= r)
#define UPPER(r, l) (l >= r)

// Blocks of 16 x 16 of an accumulator, r and c, into a tile.
#define layBlocks(acc, tile, r, c, where) if (accActive()) { \
    const Tile tileL = tile; \
    ACC_FRAGMENTS(tileF) { \
        const uint r = accRow(tileF / PER_N) / 16, c = accColumn(tileF % PER_N) / 16; \
        if (where) { \
            FragHalf tileH; \
            [[unroll]] for (uint tileE = 0; tileE < tileH.length(); tileE++) tileH[tileE] = TILE_HALF(acc.f[tileF][tileE]); \
            coopMatStore(tileH, tilePool, (tileL.at + accRow(tileF / PER_N) * tileL.stride + accColumn(tileF % PER_N) / 4) >> 1, tileL.stride >> 1, gl_CooperativeMatrixLayoutRowMajor); \
        } \
    } }

struct Dots { FragC f[PER_M]; };
// dots += sign times acc times the tile, element by element; columns of one fragment stand for all.
#define accDots(dots, acc, tile, sign) if (accActive()) { \
    const Tile tileL = tile; \
    ACC_FRAGMENTS(tileF) { \
        FragHalf tileH; \
        coopMatLoad(tileH, tilePool, (tileL.at + accRow(tileF / PER_N) * tileL.stride + accColumn(tileF % PER_N) / 4) >> 1, tileL.stride >> 1, gl_CooperativeMatrixLayoutRowMajor); \
        [[unroll]] for (uint tileE = 0; tileE < tileH.length(); tileE++) dots.f[tileF / PER_N][tileE] += sign * acc.f[tileF][tileE] * TILE_FULL(tileH[tileE]); \
    } }

// acc += rows b and acc2 += rows2 b, where rows are in registers.
#define mmaBothRows(acc, rows, acc2, rows2, b) { \
    const Tile tileB = b; \
    [[unroll]] for (uint tileK = 0; tileK < 64 / FRAG_K; tileK++) { \
        [[unroll]] for (uint tileJ = 0; tileJ < PER_N; tileJ++) { \
            FragB tileFB; \
            coopMatLoad(tileFB, tilePool, (tileB.at + accColumn(tileJ) * tileB.stride + tileK * FRAG_K / 4) >> 1, tileB.stride >> 1, gl_CooperativeMatrixLayoutColumnMajor); \
            [[unroll]] for (uint tileI = 0; tileI < PER_M; tileI++) { \
                acc.f[tileI * PER_N + tileJ] = coopMatMulAdd(rows.f[tileK * PER_M + tileI], tileFB, acc.f[tileI * PER_N + tileJ]); \
                acc2.f[tileI * PER_N + tileJ] = coopMatMulAdd(rows2.f[tileK * PER_M + tileI], tileFB, acc2.f[tileI * PER_N + tileJ]); \
            } \
        } \
    } }

// sum += what an invocation has of the whole of that.
#define accSum(sum, acc, tile) if (accActive()) { \
    const Tile tileL = tile; \
    ACC_FRAGMENTS(tileF) { \
        FragHalf tileH; \
        coopMatLoad(tileH, tilePool, (tileL.at + accRow(tileF / PER_N) * tileL.stride + accColumn(tileF % PER_N) / 4) >> 1, tileL.stride >> 1, gl_CooperativeMatrixLayoutRowMajor); \
        [[unroll]] for (uint tileE = 0; tileE < tileH.length(); tileE++) sum += acc.f[tileF][tileE] * TILE_FULL(tileH[tileE]); \
    } }

// Dots on their way to sums: the columns of a fragment from a column of the pool on, those of the subgroups that share rows side by side.
#define putDots(dots, column) if (accActive()) [[unroll]] for (uint i = 0; i < PER_M; i++) { \
    coopMatStore(dots.f[i], tilePool, accRow(i) * TILE_FLOATS + (column + gl_SubgroupID % SG_N * FRAG_N) / 4, TILE_FLOATS, gl_CooperativeMatrixLayoutRowMajor); }
float sumDots(uint column, uint r) {
    float sum = 0;
    for (uint c = 0; c < SG_N * FRAG_N; c += 4) sum += dot(tileFloats(0, r, column + c), vec4(1));
    return sum;
}

// A tile back to rows in memory.
#define SAVE_ROWS(p, tile, width, c0) \
    TILE_EACH_RUN(64, 64, j, r, c, \
        uvec4 oct = tilePool[(tile.at + r * tile.stride + c / 4) >> 1]; \
        storeOct(p, r * H * (width) + (c0) + c, (DENSE && FULL ? 8 : r < count ? int(width) - int((c0) + c) : 0), oct.xy, oct.zw);)

void main() {
    uint index = gl_WorkGroupID.x, head = gl_WorkGroupID.y, lane = gl_LocalInvocationIndex, first = index * 64, count = 64;
    if (!DENSE) {
        Chunk chunk = chunkAt(args.packed, args.N, index, args.T, C);
        if (chunk.sequence < 0) return;
        first = chunk.tokens.first;
        count = chunk.tokens.count;
    }
    const uint rows = DENSE ? EVERY_ROW : count, rowsK = FULL ? EVERY_ROW : K;
    uint64_t token = uint64_t(first) * H + head, state = (uint64_t(index) * H + head) * K * V;
    TBuf rowsX = atT(args.X, token * V), rowsO = atT(args.values, token * V), rowsV = atT(args.v, token * V), rowsE = atT(args.e, token * V);
    TBuf rowsQ = atT(args.q, token * K), rowsA = atT(SAME ? args.k : args.a, token * K), rowsK_ = atT(args.k, token * K), h = atT(args.h, state), D = atT(args.D, state);
    TBuf dv = atT(args.dv, token * V), dq = atT(args.dq, token * K), dk = atT(args.dk, token * K), da = atT(SAME ? args.dk : args.da, token * K);
    F32Buf gates = atF(args.gate, token), betas = atF(args.beta, token);
    const bool wantsBeta = !isNull(args.dBeta), wantsGate = GATE == HEADS && !isNull(args.dG);

    uvec4 nextH[KEPT * RUNS]; uvec4 nextD[KEPT * RUNS]; uvec4 nextQ[RUNS]; uvec4 nextK[RUNS]; uvec4 nextA[RUNS];
    uvec4 nextE[RUNS]; uvec4 nextO[RUNS]; uvec4 nextX[RUNS]; uvec4 nextV[RUNS];
    FETCH_VALUES(nextE, rowsE, 0)
    FETCH_VALUES(nextO, rowsO, 0)

    for (uint i = lane; i < 64; i += gl_WorkGroupSize.x) {
        uint r = min(i, count - 1);
        float g = 0, ga = 0, last = 0;
        if (GATE == HEADS) {
            g = gates.v[r * H];
            last = gates.v[(count - 1) * H];
            ga = EXCLUSIVE ? (r == 0 ? 0.0 : gates.v[(max(r, 1) - 1) * H]) : g;
        }
        tileVector[G + i] = g;
        tileVector[GA + i] = ga;
        float beta = isNull(args.beta) ? 1.0 : betas.v[r * H];
        float step = abs(beta) < LEAST ? LEAST : beta;
        tileVector[BETA + i] = beta;
        tileVector[READS + i] = scale * exp(g);
        tileVector[ERASES + i] = -step * exp(ga);
        tileVector[STEPS + i] = step;
        tileVector[WRITES + i] = exp(last - g);
        if (i == 0) tileVector[LAST] = exp(last);
        if (i < FRAG_M) tileVector[TILE_NUMBERS + i] = float(i);
    }

    Rows reads[KEPT], erases[KEPT], writes[KEPT];
    Acc scores, erased;
    accZero(scores);
    accZero(erased);
    // Of v . X an invocation has octs of the same rows everywhere.
    float dotsV[RUNS];
    [[unroll]] for (uint j = 0; j < RUNS; j++) dotsV[j] = 0;

    STRAIGHT for (uint s = 0; s < sliceTrip(SLICES); s++) {
        const uint at = HELD ? s : 0;
        LAND_VALUES(BEFORE, nextE, s)
        LAND_VALUES(PIECE, nextO, s)
        barrier();
        FETCH_VALUES(nextX, rowsX, s)
        FETCH_VALUES(nextV, rowsV, s)
        rowsLoad(reads[at], BEFORE, 64)
        rowsLoad(writes[at], PIECE, 64)
        mmaRows(scores, reads[at], BEFORE, T(PIECE), 64)
        barrier();
        LAND_VALUES(BEFORE, nextX, s)
        barrier();
        if (s + 1 < SLICES) {
            FETCH_VALUES(nextE, rowsE, s + 1)
            FETCH_VALUES(nextO, rowsO, s + 1)
        } else if (HELD) FETCH_STATE(nextH, 0, h, 0, 0)
        rowsLoad(erases[at], BEFORE, 64)
        mmaRows(erased, writes[at], PIECE, T(BEFORE), 64)
        TILE_EACH_RUN(64, 64, j, r, c,
            uvec4 x = landedOct(nextX[j], r, s * 64 + c, V, rows);
            uvec4 value = landedOct(nextV[j], r, s * 64 + c, V, rows);
            dotsV[j] += dot(unpack4(x.xy), unpack4(value.xy)) + dot(unpack4(x.zw), unpack4(value.zw));
            x = tileScaled(x, tileVector[BETA + r]);
            storeOct(dv, r * H * V + s * 64 + c, (DENSE && FULL ? 8 : r < count ? int(V) - int(s * 64 + c) : 0), x.xy, x.zw);)
        barrier();
    }
    if (HELD) [[unroll]] for (uint s = 1; s < SLICES; s++) FETCH_STATE(nextH, s * RUNS, h, 0, s)
    ACC_COMPONENTS(scores, G, G, x, g, other, beyond, (beyond <= 0 ? scale * x * decay(g - other) : 0.0))
    ACC_COMPONENTS(erased, G, GA, x, g, other, beyond, (beyond > 0 ? -x * decay(other - g) : 0.0))
    accScaleColumns(erased, STEPS)
    layBlocks(scores, SCORES, r, c, LOWER(r, c))
    layBlocks(erased, ERASED, r, c, UPPER(r, c))

    Dots dotsA, dotsG;
    float kept = 0;
    float given = 0;
    [[unroll]] for (uint i = 0; i < PER_M; i++) dotsA.f[i] = dotsG.f[i] = FragC(0.0);
    STRAIGHT for (uint t = 0; t < sliceTrip(TILES); t++) {
        Acc read, erase, written;
        accZero(read);
        accZero(erase);
        accZero(written);
        if (HELD) {
            [[unroll]] for (uint s = 0; s < SLICES; s++) {
                LAND_STATE(nextH, s * RUNS, t, s)
                barrier();
                if (s == 0) FETCH_KEYS(nextK, rowsK_, t)
                if (s + 1 == SLICES) FETCH_KEYS(nextQ, rowsQ, t)
                mmaBothRows(read, reads[s], erase, erases[s], T(PIECE))
                barrier();
            }
        } else {
            [[dont_unroll]] for (uint s = 0; s < sliceTrip(SLICES); s++) {
                FETCH_VALUES(nextE, rowsE, s)
                FETCH_VALUES(nextX, rowsX, s)
                FETCH_VALUES(nextO, rowsO, s)
                FETCH_STATE(nextH, 0, h, t, s)
                FETCH_STATE(nextD, 0, D, t, s)
#define THROUGH_STATE(acc, operand, nextLeft, nextRight) \
                LAND_VALUES(OPERAND, nextLeft, s) \
                barrier(); \
                rowsLoad(operand, OPERAND, 64) \
                barrier(); \
                LAND_STATE(nextRight, 0, t, s) \
                barrier(); \
                mmaRows(acc, operand, OPERAND, T(PIECE), 64) \
                barrier();
                if (GATE == HEADS) DOT_STATES(0, t, s)
                THROUGH_STATE(read, reads[0], nextE, nextH)
                THROUGH_STATE(erase, erases[0], nextX, nextH)
                THROUGH_STATE(written, writes[0], nextO, nextD)
            }
            FETCH_KEYS(nextK, rowsK_, t)
            FETCH_KEYS(nextQ, rowsQ, t)
        }
        accScaleRows(read, READS)
        accScaleRows(erase, ERASES)
        LAND_KEYS(nextK, t)
        barrier();
        if (!SAME) FETCH_KEYS(nextA, rowsA, t)
        mmaBlocks(read, SCORES, PIECE, r, l, LOWER(r, l))
        mmaBlocks(erase, T(ERASED), PIECE, r, l, LOWER(r, l))
        if (SAME) {
            accDots(dotsA, erase, PIECE, 1)
            mmaBlocks(erase, ERASED, PIECE, r, l, UPPER(r, l))
        }
        barrier();
        if (!SAME) {
            LAND_KEYS(nextA, t)
            barrier();
            Acc other;
            accZero(other);
            accDots(dotsA, erase, PIECE, 1)
            mmaBlocks(other, ERASED, PIECE, r, l, UPPER(r, l))
            barrier();
            accLay(erase, PIECE)
            barrier();
            SAVE_ROWS(da, PIECE, K, t * 64)
            barrier();
            accZero(erase);
            accAdd(erase, other);
        }
        LAND_KEYS(nextQ, t)
        barrier();
        if (HELD) [[unroll]] for (uint s = 0; s < SLICES; s++) FETCH_STATE(nextD, s * RUNS, D, t, s)
        if (GATE == HEADS) accDots(dotsG, read, PIECE, 1)
        mmaBlocks(erase, T(SCORES), PIECE, r, l, UPPER(r, l))
        barrier();
        accLay(read, PIECE)
        barrier();
        if (HELD && GATE == HEADS) [[unroll]] for (uint s = 0; s < SLICES; s++) FETCH_STATE(nextH, s * RUNS, h, t, s)
        SAVE_ROWS(dq, PIECE, K, t * 64)
        barrier();
        if (HELD) [[unroll]] for (uint s = 0; s < SLICES; s++) {
            if (GATE == HEADS) DOT_STATES(s * RUNS, t, s)
            LAND_STATE(nextD, s * RUNS, t, s)
            barrier();
            if (GATE == HEADS && s + 1 == SLICES) FETCH_KEYS(nextK, rowsK_, t)
            if (t + 1 < TILES) FETCH_STATE(nextH, s * RUNS, h, t + 1, s)
            mmaRows(written, writes[s], PIECE, T(PIECE), 64)
            barrier();
        }
        accScaleRows(written, WRITES)
        if (GATE == HEADS) {
            LAND_KEYS(nextK, t)
            barrier();
            accSum(given, written, PIECE)
            accAdd(written, erase)
            accDots(dotsG, written, PIECE, -1)
            barrier();
        } else accAdd(written, erase)
        accLay(written, PIECE)
        barrier();
        SAVE_ROWS(dk, PIECE, K, t * 64)
        barrier();
    }

    if (!wantsBeta && !wantsGate) return;
    // Sums over a row: eight lanes have v . X, the others lie in fragments.
    TILE_EACH_RUN(64, 64, j, r, c,
        float sum = dotsV[j];
        [[unroll]] for (uint apart = 1; apart < 8; apart *= 2) sum += subgroupShuffleXor(sum, apart);
        if (c == 0) tileVector[G + r] = sum;)
    putDots(dotsA, 0)
    putDots(dotsG, 32)
    if (wantsGate) {
        float sum = subgroupAdd(kept * tileVector[LAST] + given);
        if (subgroupElect()) tileVector[LAST + 1 + gl_SubgroupID] = sum;
    }
    barrier();
    if (wantsGate && lane == 0) {
        float sum = 0;
        for (uint i = 0; i < SUBGROUPS; i++) sum += tileVector[LAST + 1 + i];
        atF(args.leaving, uint64_t(index) * H + head).v[0] = sum;
    }
    for (uint r = lane; r < 64; r += gl_WorkGroupSize.x) tileVector[GA + r] = sumDots(0, r);
    barrier();
    for (uint r = lane; r < count; r += gl_WorkGroupSize.x) {
        float erased = tileVector[GA + r];
        if (wantsBeta) atF(args.dBeta, token).v[r * H] = tileVector[G + r] + erased / tileVector[STEPS + r];
        if (!wantsGate) continue;
        // dk holds da too where a is k. An exclusive a . da belongs to the token before.
        float sum = sumDots(32, r) + (SAME ? erased : 0.0);
        if (!EXCLUSIVE) sum += erased;
        else if (r + 1 < count) sum += tileVector[GA + r + 1];
        atF(args.dG, token).v[r * H] = sum;
    }
}
