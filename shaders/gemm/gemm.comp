#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16 MM=plain|coopmat
// @exclude T=f32 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#include "common/dtype.glsl"
// C = alpha·op(A)·op(B) + bias + beta·D for every batch: op(A) [m,k], op(B) [k,n], C and D [m,n], bias [n].
// One workgroup makes one tile of TILE_M × TILE_N. With splits > 1 the reduction is cut into pieces of kPerSplit, each of which writes its
// sum to C = fp32 [batch, splits, m, n]; split_sum.comp does the rest.
layout(push_constant, scalar) uniform Args {
    TBuf a;
    TBuf b;
    TBuf bias;              // null or [n]
    TBuf d;                 // null or like C, may be C
    TBuf c;                 // fp32 if OUT_F32
    uint m, n, k;
    uint lda, ldb, ldc;     // distance of rows of A, B as they lie in memory, and of C and D
    uint strideA, strideB;  // distance of batches
    uint batch;
    uint splits;
    uint kPerSplit;         // a multiple of SLICE
    float alpha;
    float beta;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool TRANS_A = false;        // A lies as [k,m]
layout(constant_id = 9) const bool TRANS_B = false;        // B lies as [n,k]
layout(constant_id = 10) const uint ALIGNED = 8;           // all rows of A and B begin at multiples of so many elements: 8, 4, or 1 for any
layout(constant_id = 11) const bool OUT_F32 = false;
layout(constant_id = 12) const uint SLICE = 32;            // of the reduction, in shared memory at a time
layout(constant_id = 13) const uint OUT_ALIGNED = 8;       // the same as ALIGNED for C, D and bias
layout(constant_id = 14) const bool HAS_BIAS = true;
layout(constant_id = 15) const bool HAS_D = true;
layout(constant_id = 16) const bool IS_PARTIAL = false;    // splits > 1

#define ROWS_A (TRANS_A ? SLICE : TILE_M)
#define COLS_A (TRANS_A ? TILE_M : SLICE)
#define ROWS_B (TRANS_B ? TILE_N : SLICE)
#define COLS_B (TRANS_B ? SLICE : TILE_N)
#define TILE_ALIGNED (ALIGNED >= 4 && OUT_ALIGNED >= 4)
#define SLICE_QUADS (tileQuads(ROWS_A, COLS_A) + tileQuads(ROWS_B, COLS_B))
#include "gemm/out_size.glsl"
#ifdef MM_coopmat
#define TILE_QUADS (SLICE_QUADS > OUT_QUADS ? SLICE_QUADS : OUT_QUADS)
#define TILE_BARE
#else
#define TILE_QUADS SLICE_QUADS
#endif
#include "common/tile.glsl"
#include "gemm/out.glsl"

// What one load from global memory brings: 16 bytes.
#ifdef MM_coopmat
#define PIECE 8
#define Piece uvec4
#define PieceBuf U32x4Buf
#define putPiece tilePutOctet
Piece loadPiece(TBuf p, uint i, int left) {
    if (ALIGNED >= 8 && left >= 8) return U32x4Buf(uint64_t(p) + uint64_t(i) * 2ul).v;
    return uvec4(loadQuad(p, i, left), loadQuad(p, i + 4, left - 4));
}
#else
#define PIECE 4
#define putPiece tilePut
#define loadPiece loadQuad
#ifdef T_f32
#define Piece vec4
#define PieceBuf F32x4Buf
#else
#define Piece uvec2
#define PieceBuf U16x4Buf
#endif
#endif

// ---- slices, guarded element by element ---------------------------------------------------------------------------------
// Elements (r, c..c + PIECE - 1) of the slice that begins at k, rows and columns as they lie in memory.
Piece pieceOfA(TBuf a, uint r, uint c, uint k, uint m0, uint kEnd) {
    if (TRANS_A) return loadPiece(atT(a, uint64_t(k) * args.lda + m0), r * args.lda + c, k + r < kEnd ? columnsLeft(m0 + c, args.m) : 0);
    return loadPiece(atT(a, uint64_t(m0) * args.lda + k), r * args.lda + c, m0 + r < args.m ? columnsLeft(k + c, kEnd) : 0);
}

Piece pieceOfB(TBuf b, uint r, uint c, uint k, uint n0, uint kEnd) {
    if (TRANS_B) return loadPiece(atT(b, uint64_t(n0) * args.ldb + k), r * args.ldb + c, n0 + r < args.n ? columnsLeft(k + c, kEnd) : 0);
    return loadPiece(atT(b, uint64_t(k) * args.ldb + n0), r * args.ldb + c, k + r < kEnd ? columnsLeft(n0 + c, args.n) : 0);
}

void stage(TBuf pa, TBuf pb, Tile a, Tile b, uint k, uint m0, uint n0, uint kEnd) {
    [[dont_unroll]] for (uint q = gl_LocalInvocationIndex; q < TILE_M * SLICE / PIECE; q += gl_WorkGroupSize.x) {
        uint r = q / (COLS_A / PIECE), c = q % (COLS_A / PIECE) * PIECE;
        putPiece(a, r, c, pieceOfA(pa, r, c, k, m0, kEnd));
    }
    [[dont_unroll]] for (uint q = gl_LocalInvocationIndex; q < TILE_N * SLICE / PIECE; q += gl_WorkGroupSize.x) {
        uint r = q / (COLS_B / PIECE), c = q % (COLS_B / PIECE) * PIECE;
        putPiece(b, r, c, pieceOfB(pb, r, c, k, n0, kEnd));
    }
}

// ---- slices, read ahead --------------------------------------------------------------------------------------------------
// Every invocation reads the same number of pieces, in whole runs: places past an edge read the edge, and what lies past the end of the reduction lands as zeros.
// What lies past the edges of C is any number, and is not stored.
const uint CARRY_A = TILE_M * SLICE / PIECE / gl_WorkGroupSize.x;
const uint CARRY_B = TILE_N * SLICE / PIECE / gl_WorkGroupSize.x;
const bool AHEAD = !TILE_CPU && ALIGNED >= PIECE && TILE_M * SLICE / PIECE % gl_WorkGroupSize.x == 0 && TILE_N * SLICE / PIECE % gl_WorkGroupSize.x == 0;
struct Carry { Piece a[CARRY_A + 1]; Piece b[CARRY_B + 1]; };      // no array is empty

// Row of piece i where a row has `pieces`. Eight lanes that store at once touch every bank of shared memory once: rows of 4 pieces are 80 bytes apart, of 2, 48.
uint rowOfPiece(uint i, uint pieces) {
    uint row = (gl_LocalInvocationIndex + i * gl_WorkGroupSize.x) / pieces;
    if (PIECE == 8 && pieces == 4) return row & ~7u | (row & 1) << 2 | row >> 1 & 3;
    if (PIECE == 8 && pieces == 2) return row & ~7u | (row & 3) << 1 | row >> 2 & 1;
    return row;
}

uint columnOfPiece(uint pieces) { return gl_LocalInvocationIndex % pieces * PIECE; }

// A piece of an operand whose tile begins at row or column o0 of o, in the slice at k.
Piece fetched(TBuf p, bool alongK, uint ld, uint row, uint column, uint o0, uint o, uint k, uint kEnd) {
    uint major = alongK ? min(o0 + row, o - 1) : min(k + row, kEnd - 1);
    uint minor = alongK ? min(k + column, kEnd - PIECE) : min(o0 + column, o - PIECE);
    return PieceBuf(uint64_t(p) + (uint64_t(major) * ld + minor) * T_SIZE).v;
}

void fetch(inout Carry carry, TBuf pa, TBuf pb, uint k, uint m0, uint n0, uint kEnd) {
    [[unroll]] for (uint i = 0; i < CARRY_A; i++) carry.a[i] = fetched(pa, !TRANS_A, args.lda, rowOfPiece(i, COLS_A / PIECE), columnOfPiece(COLS_A / PIECE), m0, args.m, k, kEnd);
    [[unroll]] for (uint i = 0; i < CARRY_B; i++) carry.b[i] = fetched(pb, TRANS_B, args.ldb, rowOfPiece(i, COLS_B / PIECE), columnOfPiece(COLS_B / PIECE), n0, args.n, k, kEnd);
}

void land(Carry carry, Tile a, Tile b, uint left) {
    [[unroll]] for (uint i = 0; i < CARRY_A; i++) {
        uint r = rowOfPiece(i, COLS_A / PIECE), c = columnOfPiece(COLS_A / PIECE);
        putPiece(a, r, c, (TRANS_A ? r : c) < left ? carry.a[i] : Piece(0));
    }
    [[unroll]] for (uint i = 0; i < CARRY_B; i++) {
        uint r = rowOfPiece(i, COLS_B / PIECE), c = columnOfPiece(COLS_B / PIECE);
        putPiece(b, r, c, (TRANS_B ? c : r) < left ? carry.b[i] : Piece(0));
    }
}

void main() {
    uint layer, m0, n0;
    if (!tileOfGroup(layer, m0, n0)) return;
    uint kBegin = layer % args.splits * args.kPerSplit, kEnd = min(args.k, kBegin + args.kPerSplit);
    TBuf pa = atT(args.a, uint64_t(layer / args.splits) * args.strideA), pb = atT(args.b, uint64_t(layer / args.splits) * args.strideB);

    Tile a = Tile(0, tileStride(COLS_A), TRANS_A);
    Tile b = Tile(tileQuads(ROWS_A, COLS_A), tileStride(COLS_B), TRANS_B);
    Acc acc;
    accZero(acc);
    if (AHEAD) {
        Carry carry;
        if (kBegin < kEnd) fetch(carry, pa, pb, kBegin, m0, n0, kEnd);
        [[dont_unroll]] for (uint k = kBegin; k < kEnd; k += SLICE) {
            land(carry, a, b, kEnd - k);
            barrier();
            fetch(carry, pa, pb, min(k + SLICE, kEnd - 1), m0, n0, kEnd);
            mma(acc, a, b, SLICE);
            barrier();
        }
    } else {
        [[dont_unroll]] for (uint k = kBegin; k < kEnd; k += SLICE) {
            stage(pa, pb, a, b, k, m0, n0, kEnd);
            barrier();
            mma(acc, a, b, SLICE);
            barrier();
        }
    }
    uint64_t base = uint64_t(layer) * args.m * args.ldc;
    OUT(acc, base, m0, n0)
}
