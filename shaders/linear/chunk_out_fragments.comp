// OUT forward under decays of heads (chunk_out.comp), where all chunks and tiles are whole and the states lie as chunk_state_fragments.comp makes them:
//   out_i = inter e^{G_i} (a_i S) + sum over j <= i of intra (a_i . b_j) e^{G_i - G_j} c_j
// of the chunks first .. first + count - 1 of each sequence of T tokens, whose states alone are in states.
// One workgroup a chunk and TILES tiles of 64 columns (x) and head (y); a subgroup has columns of the output and all of the chunk's rows. Its columns of the state
// come from memory straight into registers, once, early, and each of their fragments serves all rows. a and b pass through shared memory, 64 channels at a time,
// then c with the products, block by block: those above the diagonal are not made.
// @variants T=f16|bf16 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/decay.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf a; TBuf b; TBuf c; F32Buf gate; F32Buf gamma; TBuf states; TBuf o;
    uint T; uint first; uint count; uint H; float inter; float intra; float decayKind;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const uint TILES = 1;              // tiles of 64 columns of the output that a workgroup makes
layout(constant_id = 9) const uint SLICES = 1;             // P / 64, at most 4
layout(constant_id = 10) const bool GATED = false;
layout(constant_id = 11) const uint Q = 128;

const uint P = 64 * SLICES;

#define TILE_WHOLE true
#define TILE_SOLID true
#define TILE_BARE
#define QUADS_SLICE (2 * tileQuads(64, 64))
#define QUADS_BLOCKS (tileQuads(64, 64 * TILES) + (64 / FRAG_M + 1) * 8 * FRAG_M)
#define QUADS_OUT (SUBGROUPS * tileQuads(64, 64 * TILES / SUBGROUPS))
#define QUADS_READ (QUADS_SLICE > QUADS_BLOCKS ? QUADS_SLICE : QUADS_BLOCKS)
#define TILE_QUADS (QUADS_READ > QUADS_OUT ? QUADS_READ : QUADS_OUT)
#define TILE_VECTOR 144
#include "common/tile.glsl"
#include "common/unroll.glsl"

uint H = args.H, head = gl_WorkGroupID.y, lane = gl_LocalInvocationIndex;
const uint NUMBERS = 128;                                  // tileVector: inter f, G of the 64 tokens, then 0, 1, ..
const uint BLOCKS = 64 / FRAG_M, COLUMNS = 64 * TILES / FRAG_N / SUBGROUPS, STEPS = 64 / FRAG_K;
const uint OCTS = 512 / gl_WorkGroupSize.x, PASS = gl_WorkGroupSize.x / 8;                       // of 64 x 64
const uint OCTS_C = OCTS * TILES, PASS_C = gl_WorkGroupSize.x / (8 * TILES);                     // of 64 x 64 TILES
const uint ENTRIES = (127 + gl_WorkGroupSize.x) / gl_WorkGroupSize.x;                             // of the first 128 of tileVector
const uint STRIDE = tileStride(64) / 2, STRIDE_C = tileStride(64 * TILES) / 2, STRIDE_OUT = tileStride(COLUMNS * FRAG_N) / 2, B_AT = tileQuads(64, 64) / 2;    // octs

// The block of products in block row i and column j <= i.
uint blockAt(uint i, uint j) { return tileQuads(64, 64 * TILES) / 2 + (i * (i + 1) / 2 + j) * (FRAG_M * FRAG_N / 8); }

// Slice s into set s % 2: all of a row of 64 channels is 8 lanes'.
#define FETCH_SLICE(s) \
    [[unroll]] for (uint j = 0; j < OCTS; j++) { \
        sliceA[(s) % 2 * OCTS + j] = U32x4Buf(fromA + j * PASS * rowA + (s) * 128).v; \
        sliceB[(s) % 2 * OCTS + j] = U32x4Buf(fromB + j * PASS * rowA + (s) * 128).v; \
    }
#define LAND_SLICE(s) \
    [[unroll]] for (uint j = 0; j < OCTS; j++) { \
        tilePool[land + j * PASS * STRIDE] = sliceA[(s) % 2 * OCTS + j]; \
        tilePool[B_AT + land + j * PASS * STRIDE] = sliceB[(s) % 2 * OCTS + j]; \
    }
#define FETCH_STATES(s) \
    [[unroll]] for (uint k = 0; k < STEPS; k++) [[unroll]] for (uint j = 0; j < COLUMNS; j++) \
        words[((s) % 2 * STEPS + k) * COLUMNS + j] = U32x4Buf(states + ((s) * STEPS + k) * (Q / FRAG_N * SUBGROUP * 16) + j * SUBGROUP * 16).v;
#define FETCH_VALUES [[unroll]] for (uint j = 0; j < OCTS_C; j++) values[j] = U32x4Buf(fromC + j * PASS_C * rowC).v;

// The products of a subgroup's rows: variables of their own, as NVIDIA's driver keeps an array of them, written in branches, in memory. At most 8 blocks.
#define PRODUCTS FragC score0, score1, score2, score3, score4, score5, score6, score7;
#define EACH_PRODUCT(DO) { DO(0, score0) DO(1, score1) DO(2, score2) DO(3, score3) if (BLOCKS > 4) { DO(4, score4) DO(5, score5) DO(6, score6) DO(7, score7) } }
#define LOAD_LEFT(left, k) coopMatLoad(left, tilePool, own * FRAG_M * STRIDE + (k) * (FRAG_K / 8), STRIDE, gl_CooperativeMatrixLayoutRowMajor);
#define SCORE(n, score, left, k) { \
    FragB right; \
    coopMatLoad(right, tilePool, B_AT + (n) * FRAG_N * STRIDE + (k) * (FRAG_K / 8), STRIDE, gl_CooperativeMatrixLayoutColumnMajor); \
    score = coopMatMulAdd(left, right, score); }
#define SCORE_STEP(n, score) if (n <= own) SCORE(n, score, left, k)
#define SCORE_STEPS(n, score) if (n <= own) { [[unroll]] for (uint k = 0; k < STEPS; k++) SCORE(n, score, left[k], k) }
#define PRODUCT_DECAYS(n, score) if (n <= own) { \
    FragC others; \
    FragHalf bits; \
    coopMatLoad(others, tileVector, 64 + n * FRAG_N, 0, gl_CooperativeMatrixLayoutRowMajor); \
    [[unroll]] for (uint e = 0; e < 8; e++) { \
        float x = args.intra * score[e] * exp(-abs(decays[e] - others[e])); \
        bits[e] = TILE_HALF(n < own || columns[e] <= rows[e] ? x : 0.0); \
    } \
    coopMatStore(bits, tilePool, blockAt(own, n), FRAG_N / 8, gl_CooperativeMatrixLayoutRowMajor); }
#define SCORE_ZERO(n, score) score = FragC(0.0);

// Slice s of a and b into the products and of a and the state into the output. Slices are spelled out: what is read ahead stays in straight code.
#define SLICE(s) { \
        LAND_SLICE(s) \
        barrier(); \
        if (s + 2 < SLICES) FETCH_SLICE(s + 2) \
        if (s + 2 == SLICES || SLICES == 1) FETCH_VALUES \
        if (TILE_CPU) [[dont_unroll]] for (uint k = 0; k < tileTrip(STEPS); k++) { \
            FragA left; \
            LOAD_LEFT(left, k) \
            EACH_PRODUCT(SCORE_STEP) \
        } else { \
            FragA left[STEPS]; \
            [[unroll]] for (uint k = 0; k < STEPS; k++) LOAD_LEFT(left[k], k) \
            EACH_PRODUCT(SCORE_STEPS) \
        } \
        EACH(k, STEPS, \
            FragB right[COLUMNS]; \
            [[unroll]] for (uint j = 0; j < COLUMNS; j++) FRAGMENT_OF(right[j], words[(s % 2 * STEPS + k) * COLUMNS + j]) \
            [[unroll]] for (uint m = 0; m < BLOCKS; m++) { \
                FragA left; \
                coopMatLoad(left, tilePool, m * FRAG_M * STRIDE + k * (FRAG_K / 8), STRIDE, gl_CooperativeMatrixLayoutRowMajor); \
                [[unroll]] for (uint j = 0; j < COLUMNS; j++) acc[m * COLUMNS + j] = coopMatMulAdd(left, right[j], acc[m * COLUMNS + j]); \
            }) \
        if (s + 2 < SLICES) FETCH_STATES(s + 2) \
        barrier(); \
    }

void main() {
    uint groups = Q / (64 * TILES), chunk = gl_WorkGroupID.x / groups, q0 = gl_WorkGroupID.x % groups * (64 * TILES), own = gl_SubgroupID;
    uint64_t token = (uint64_t(chunk / args.count) * args.T + (args.first + chunk % args.count) * 64) * H + head;
    uint row = lane / 8, land = row * STRIDE + lane % 8, rowA = H * P * 2;
    uint rowC = H * Q * 2, landC = lane / (8 * TILES) * STRIDE_C + lane % (8 * TILES);
    uint64_t fromA = uint64_t(args.a) + token * (P * 2) + row * rowA + lane % 8 * 16, fromB = uint64_t(args.b) + token * (P * 2) + row * rowA + lane % 8 * 16;
    uint64_t fromC = uint64_t(args.c) + token * (Q * 2) + lane / (8 * TILES) * rowC + q0 * 2 + lane % (8 * TILES) * 16;
    uint64_t states = uint64_t(args.states) + (uint64_t(chunk) * H + head) * (P * Q * 2) + ((q0 / FRAG_N + own * COLUMNS) * SUBGROUP + gl_SubgroupInvocationID) * 16;
    uvec4 sliceA[2 * OCTS], sliceB[2 * OCTS], values[OCTS_C], words[2 * STEPS * COLUMNS];

    // The gates come first and without a branch: what is asked for before one and used after it would be waited for there.
    float headGate = headDecay(args.gamma, args.decayKind, head);
    float gates[ENTRIES];
    [[unroll]] for (uint j = 0; j < ENTRIES; j++) gates[j] = GATED ? F32Buf(uint64_t(args.gate) + token * 4ul + (lane + j * gl_WorkGroupSize.x) % 64 * (H * 4)).v[0] : 0.0;
    FETCH_SLICE(0)
    FETCH_STATES(0)
    if (SLICES > 1) {
        FETCH_SLICE(1)
        FETCH_STATES(1)
    }
    [[unroll]] for (uint j = 0; j < ENTRIES; j++) {
        uint i = lane + j * gl_WorkGroupSize.x;
        float g = headGate * float(i % 64 + 1) + gates[j];
        if (i < 128) tileVector[i] = i < 64 ? args.inter * exp(g) : g;
    }
    if (lane < FRAG_M) tileVector[NUMBERS + lane] = float(lane);
    PRODUCTS
    FragC acc[BLOCKS * COLUMNS];
    EACH_PRODUCT(SCORE_ZERO)
    [[unroll]] for (uint i = 0; i < BLOCKS * COLUMNS; i++) acc[i] = FragC(0.0);

    SLICE(0)
    if (SLICES > 1) SLICE(1)
    if (SLICES > 2) SLICE(2)
    if (SLICES > 3) SLICE(3)

    [[unroll]] for (uint j = 0; j < OCTS_C; j++) tilePool[landC + j * PASS_C * STRIDE_C] = values[j];
    FragC rows, columns, decays;
    coopMatLoad(rows, tileVector, NUMBERS, 0, gl_CooperativeMatrixLayoutColumnMajor);
    coopMatLoad(columns, tileVector, NUMBERS, 0, gl_CooperativeMatrixLayoutRowMajor);
    coopMatLoad(decays, tileVector, 64 + own * FRAG_M, 0, gl_CooperativeMatrixLayoutColumnMajor);
    EACH_PRODUCT(PRODUCT_DECAYS)
    [[unroll]] for (uint m = 0; m < BLOCKS; m++) {
        FragC factors;
        coopMatLoad(factors, tileVector, m * FRAG_M, 0, gl_CooperativeMatrixLayoutColumnMajor);
        [[unroll]] for (uint j = 0; j < COLUMNS; j++) acc[m * COLUMNS + j] = acc[m * COLUMNS + j] * factors;
    }
    barrier();
    EACH(k, BLOCKS,
        FragB right[COLUMNS];
        [[unroll]] for (uint j = 0; j < COLUMNS; j++)
            coopMatLoad(right[j], tilePool, k * FRAG_K * STRIDE_C + (own * COLUMNS + j) * (FRAG_N / 8), STRIDE_C, gl_CooperativeMatrixLayoutRowMajor);
        [[unroll]] for (uint m = 0; m < BLOCKS; m++) if (m >= k) {
            FragA left;
            coopMatLoad(left, tilePool, blockAt(m, k), FRAG_K / 8, gl_CooperativeMatrixLayoutRowMajor);
            [[unroll]] for (uint j = 0; j < COLUMNS; j++) acc[m * COLUMNS + j] = coopMatMulAdd(left, right[j], acc[m * COLUMNS + j]);
        })
    barrier();

    // Each subgroup has a place for its columns, from which they go to memory in rows.
    uint place = own * 64 * STRIDE_OUT;
    [[unroll]] for (uint i = 0; i < BLOCKS * COLUMNS; i++) {
        FragHalf bits;
        [[unroll]] for (uint e = 0; e < 8; e++) bits[e] = TILE_HALF(acc[i][e]);
        coopMatStore(bits, tilePool, place + i / COLUMNS * FRAG_M * STRIDE_OUT + i % COLUMNS * (FRAG_N / 8), STRIDE_OUT, gl_CooperativeMatrixLayoutRowMajor);
    }
    tileSync();
    const uint OCTS_ROW = COLUMNS * FRAG_N / 8, PASS_OUT = SUBGROUP / OCTS_ROW;
    uint rowOut = gl_SubgroupInvocationID / OCTS_ROW, columnOut = gl_SubgroupInvocationID % OCTS_ROW;
    uint64_t to = uint64_t(args.o) + token * (Q * 2) + rowOut * rowC + (q0 + own * COLUMNS * FRAG_N + columnOut * 8) * 2;
    [[unroll]] for (uint j = 0; j < 64 / PASS_OUT; j++)
        U32x4Buf(to + j * PASS_OUT * rowC).v = tilePool[place + (rowOut + j * PASS_OUT) * STRIDE_OUT + columnOut];
}
