// OUT forward under decays of heads (chunk_out.comp), where all chunks and tiles are whole and the states lie as chunk_state_fragments.comp makes them:
//   out_i = inter e^{G_i} (a_i S) + sum over j <= i of intra (a_i . b_j) e^{G_i - G_j} c_j
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
    uint H; uint P; uint Q; float inter; float intra; float decayKind;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const uint TILES = 1;              // tiles of 64 columns of the output that a workgroup makes
layout(constant_id = 9) const uint SLICES = 1;             // P / 64

const uint AHEAD = 2;                                      // slices that are read ahead

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

uint P = args.P, Q = args.Q, H = args.H, head = gl_WorkGroupID.y, lane = gl_LocalInvocationIndex;
const uint NUMBERS = 128;                                  // tileVector: inter f, G of the 64 tokens, then 0, 1, ..
const uint BLOCKS = 64 / FRAG_M, COLUMNS = 64 * TILES / FRAG_N / SUBGROUPS, STEPS = 64 / FRAG_K;
const uint OCTS = 512 / gl_WorkGroupSize.x, PASS = gl_WorkGroupSize.x / 8;                       // of 64 x 64
const uint OCTS_C = OCTS * TILES, PASS_C = gl_WorkGroupSize.x / (8 * TILES);                     // of 64 x 64 TILES
const uint STRIDE = tileStride(64) / 2, STRIDE_C = tileStride(64 * TILES) / 2, STRIDE_OUT = tileStride(COLUMNS * FRAG_N) / 2, B_AT = tileQuads(64, 64) / 2;    // octs

// The block of products in block row i and column j <= i.
uint blockAt(uint i, uint j) { return tileQuads(64, 64 * TILES) / 2 + (i * (i + 1) / 2 + j) * (FRAG_M * FRAG_N / 8); }

// Slice s into set s % 2: all of a row of 64 channels is 8 lanes'.
#define FETCH_SLICE(s) \
    [[unroll]] for (uint j = 0; j < OCTS; j++) { \
        const uint n = (s) % 2 * OCTS + j; \
        sliceA[n] = U32x4Buf(fromA + uint64_t(j * PASS * H * P + (s) * 64) * 2ul).v; \
        sliceB[n] = U32x4Buf(fromB + uint64_t(j * PASS * H * P + (s) * 64) * 2ul).v; \
    }
#define LAND_SLICE(s) \
    [[unroll]] for (uint j = 0; j < OCTS; j++) { \
        const uint n = (s) % 2 * OCTS + j; \
        tilePool[land + j * PASS * STRIDE] = sliceA[n]; \
        tilePool[B_AT + land + j * PASS * STRIDE] = sliceB[n]; \
    }
#define FETCH_STATES(s) \
    [[unroll]] for (uint k = 0; k < STEPS; k++) [[unroll]] for (uint j = 0; j < COLUMNS; j++) \
        words[((s) % 2 * STEPS + k) * COLUMNS + j] = U32x4Buf(states + uint64_t((((s) * STEPS + k) * (Q / FRAG_N) + j) * SUBGROUP * 16)).v;
#define FETCH_VALUES [[unroll]] for (uint j = 0; j < OCTS_C; j++) values[j] = U32x4Buf(fromC + uint64_t(j * PASS_C * H * Q) * 2ul).v;

// Unrolled by GPUs; CPU drivers would compile that for minutes.
#define EACH(i, n, statements) \
    if (TILE_CPU) { [[dont_unroll]] for (uint i = 0; i < tileTrip(n); i++) { statements } } \
    else [[unroll]] for (uint i = 0; i < n; i++) { statements }

void main() {
    uint groups = Q / (64 * TILES), chunk = gl_WorkGroupID.x / groups, q0 = gl_WorkGroupID.x % groups * (64 * TILES), own = gl_SubgroupID;
    uint64_t token = uint64_t(chunk) * 64 * H + head;
    uint row = lane / 8, column = lane % 8 * 8, land = row * STRIDE + lane % 8;
    uint rowC = lane / (8 * TILES), columnC = lane % (8 * TILES) * 8, landC = rowC * STRIDE_C + lane % (8 * TILES);
    uint64_t atA = (token + row * H) * P + column;
    uint64_t fromA = uint64_t(args.a) + atA * 2ul, fromB = uint64_t(args.b) + atA * 2ul;
    uint64_t fromC = uint64_t(args.c) + ((token + rowC * H) * Q + q0 + columnC) * 2ul;
    uint64_t states = uint64_t(args.states) + (uint64_t(chunk) * H + head) * (P * Q * 2) + ((q0 / FRAG_N + own * COLUMNS) * SUBGROUP + gl_SubgroupInvocationID) * 16;
    uvec4 sliceA[2 * OCTS], sliceB[2 * OCTS], values[OCTS_C], words[2 * STEPS * COLUMNS];

    FETCH_SLICE(0)
    FETCH_STATES(0)
    if (AHEAD == 2 && SLICES > 1) {
        FETCH_SLICE(1)
        FETCH_STATES(1)
    }
    float headGate = headDecay(args.gamma, args.decayKind, head);
    for (uint i = lane; i < 64; i += gl_WorkGroupSize.x) {
        float g = headGate * float(i + 1);
        if (!isNull(args.gate)) g += atF(args.gate, token).v[i * H];
        tileVector[64 + i] = g;
        tileVector[i] = args.inter * exp(g);
    }
    if (lane < FRAG_M) tileVector[NUMBERS + lane] = float(lane);
    FragC scores[BLOCKS], acc[BLOCKS * COLUMNS];
    [[unroll]] for (uint i = 0; i < BLOCKS; i++) scores[i] = FragC(0.0);
    [[unroll]] for (uint i = 0; i < BLOCKS * COLUMNS; i++) acc[i] = FragC(0.0);

    [[unroll]] for (uint s = 0; s < SLICES; s++) {
        LAND_SLICE(s)
        barrier();
        if (s + AHEAD < SLICES) FETCH_SLICE(s + AHEAD)
        if (s + AHEAD == SLICES || AHEAD > SLICES && s == 0) FETCH_VALUES
        FragA left[STEPS];
        [[unroll]] for (uint k = 0; k < STEPS; k++) coopMatLoad(left[k], tilePool, own * FRAG_M * STRIDE + k * (FRAG_K / 8), STRIDE, gl_CooperativeMatrixLayoutRowMajor);
        EACH(n, BLOCKS, if (n <= own) [[unroll]] for (uint k = 0; k < STEPS; k++) {
            FragB right;
            coopMatLoad(right, tilePool, B_AT + n * FRAG_N * STRIDE + k * (FRAG_K / 8), STRIDE, gl_CooperativeMatrixLayoutColumnMajor);
            scores[n] = coopMatMulAdd(left[k], right, scores[n]);
        })
        EACH(k, STEPS,
            FragB right[COLUMNS];
            [[unroll]] for (uint j = 0; j < COLUMNS; j++) FRAGMENT_OF(right[j], words[(s % 2 * STEPS + k) * COLUMNS + j])
            [[unroll]] for (uint m = 0; m < BLOCKS; m++) {
                FragA left;
                coopMatLoad(left, tilePool, m * FRAG_M * STRIDE + k * (FRAG_K / 8), STRIDE, gl_CooperativeMatrixLayoutRowMajor);
                [[unroll]] for (uint j = 0; j < COLUMNS; j++) acc[m * COLUMNS + j] = coopMatMulAdd(left, right[j], acc[m * COLUMNS + j]);
            })
        if (s + AHEAD < SLICES) FETCH_STATES(s + AHEAD)
        barrier();
    }

    [[unroll]] for (uint j = 0; j < OCTS_C; j++) tilePool[landC + j * PASS_C * STRIDE_C] = values[j];
    FragC rows, columns, decays;
    coopMatLoad(rows, tileVector, NUMBERS, 0, gl_CooperativeMatrixLayoutColumnMajor);
    coopMatLoad(columns, tileVector, NUMBERS, 0, gl_CooperativeMatrixLayoutRowMajor);
    coopMatLoad(decays, tileVector, 64 + own * FRAG_M, 0, gl_CooperativeMatrixLayoutColumnMajor);
    EACH(n, BLOCKS, if (n <= own) {
        FragC others;
        FragHalf bits;
        coopMatLoad(others, tileVector, 64 + n * FRAG_N, 0, gl_CooperativeMatrixLayoutRowMajor);
        [[unroll]] for (uint e = 0; e < 8; e++) {
            float x = args.intra * scores[n][e] * exp(-abs(decays[e] - others[e]));
            bits[e] = TILE_HALF(n < own || columns[e] <= rows[e] ? x : 0.0);
        }
        coopMatStore(bits, tilePool, blockAt(own, n), FRAG_N / 8, gl_CooperativeMatrixLayoutRowMajor);
    })
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
    uint64_t to = uint64_t(args.o) + ((token + rowOut * H) * Q + q0 + own * COLUMNS * FRAG_N + columnOut * 8) * 2ul;
    [[unroll]] for (uint j = 0; j < 64 / PASS_OUT; j++)
        U32x4Buf(to + uint64_t(j * PASS_OUT * H * Q) * 2ul).v = tilePool[place + (rowOut + j * PASS_OUT) * STRIDE_OUT + columnOut];
}
