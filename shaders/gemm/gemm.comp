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
    uint kPerSplit;         // a multiple of TILE_K
    float alpha;
    float beta;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool TRANS_A = false;        // A lies as [k,m]
layout(constant_id = 9) const bool TRANS_B = false;        // B lies as [n,k]
layout(constant_id = 10) const uint ALIGNED = 4;           // all rows begin at multiples of so many elements: 8, 4, or 1 for any
layout(constant_id = 11) const bool OUT_F32 = false;

const uint STRIP = 8;       // tile rows that run together, for the cache's sake

#define TILE_ALIGNED (ALIGNED >= 4)
#define ROWS_A (TRANS_A ? TILE_K : TILE_M)
#define COLS_A (TRANS_A ? TILE_M : TILE_K)
#define ROWS_B (TRANS_B ? TILE_N : TILE_K)
#define COLS_B (TRANS_B ? TILE_K : TILE_N)
#define TILE_QUADS (tileQuads(ROWS_A, COLS_A) + tileQuads(ROWS_B, COLS_B))
#define TILE_ROLLED
#include "common/tile.glsl"

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

int columnsLeft(uint at, uint end) { return at < end ? int(end - at) : 0; }

// Elements (r, c..c + PIECE - 1) of the slice that begins at k, rows and columns as they lie in memory.
Piece pieceOfA(TBuf a, uint r, uint c, uint k, uint m0, uint kEnd) {
    if (TRANS_A) return loadPiece(atT(a, uint64_t(k) * args.lda + m0), r * args.lda + c, k + r < kEnd ? columnsLeft(m0 + c, args.m) : 0);
    return loadPiece(atT(a, uint64_t(m0) * args.lda + k), r * args.lda + c, m0 + r < args.m ? columnsLeft(k + c, kEnd) : 0);
}

Piece pieceOfB(TBuf b, uint r, uint c, uint k, uint n0, uint kEnd) {
    if (TRANS_B) return loadPiece(atT(b, uint64_t(n0) * args.ldb + k), r * args.ldb + c, n0 + r < args.n ? columnsLeft(k + c, kEnd) : 0);
    return loadPiece(atT(b, uint64_t(k) * args.ldb + n0), r * args.ldb + c, k + r < kEnd ? columnsLeft(n0 + c, args.n) : 0);
}

// A slice that lies within both matrices is fetched into registers while the products of the one before run: no guards, and the addresses of an
// invocation's pieces are equal steps. A slice over an edge goes straight to shared memory, guarded.
const uint PIECES_A = TILE_M * TILE_K / PIECE;
const uint PIECES_B = TILE_N * TILE_K / PIECE;
const uint CARRY_A = (PIECES_A + gl_WorkGroupSize.x - 1) / gl_WorkGroupSize.x;
const uint CARRY_B = (PIECES_B + gl_WorkGroupSize.x - 1) / gl_WorkGroupSize.x;
struct Carry { Piece a[CARRY_A]; Piece b[CARRY_B]; };

bool isWhole(uint k, uint m0, uint n0, uint kEnd) {
    return !TILE_CPU && ALIGNED >= PIECE && PIECES_A % gl_WorkGroupSize.x == 0 && PIECES_B % gl_WorkGroupSize.x == 0
        && m0 + TILE_M <= args.m && n0 + TILE_N <= args.n && k + TILE_K <= kEnd;
}

void fetch(inout Carry carry, TBuf pa, TBuf pb, uint k, uint m0, uint n0) {
    uint q = gl_LocalInvocationIndex;
    uint64_t a = uint64_t(atT(pa, TRANS_A ? uint64_t(k) * args.lda + m0 : uint64_t(m0) * args.lda + k)) + (q / (COLS_A / PIECE) * args.lda + q % (COLS_A / PIECE) * PIECE) * T_SIZE;
    uint64_t b = uint64_t(atT(pb, TRANS_B ? uint64_t(n0) * args.ldb + k : uint64_t(k) * args.ldb + n0)) + (q / (COLS_B / PIECE) * args.ldb + q % (COLS_B / PIECE) * PIECE) * T_SIZE;
    uint stepA = gl_WorkGroupSize.x / (COLS_A / PIECE) * args.lda * T_SIZE, stepB = gl_WorkGroupSize.x / (COLS_B / PIECE) * args.ldb * T_SIZE;
    [[unroll]] for (uint i = 0; i < CARRY_A; i++) carry.a[i] = PieceBuf(a + i * stepA).v;
    [[unroll]] for (uint i = 0; i < CARRY_B; i++) carry.b[i] = PieceBuf(b + i * stepB).v;
}

void put(Carry carry, Tile a, Tile b) {
    uint q = gl_LocalInvocationIndex;
    [[unroll]] for (uint i = 0; i < CARRY_A; i++) putPiece(a, q / (COLS_A / PIECE) + i * (gl_WorkGroupSize.x / (COLS_A / PIECE)), q % (COLS_A / PIECE) * PIECE, carry.a[i]);
    [[unroll]] for (uint i = 0; i < CARRY_B; i++) putPiece(b, q / (COLS_B / PIECE) + i * (gl_WorkGroupSize.x / (COLS_B / PIECE)), q % (COLS_B / PIECE) * PIECE, carry.b[i]);
}

void stage(TBuf pa, TBuf pb, Tile a, Tile b, uint k, uint m0, uint n0, uint kEnd) {
    [[dont_unroll]] for (uint q = gl_LocalInvocationIndex; q < PIECES_A; q += gl_WorkGroupSize.x) {
        uint r = q / (COLS_A / PIECE), c = q % (COLS_A / PIECE) * PIECE;
        putPiece(a, r, c, pieceOfA(pa, r, c, k, m0, kEnd));
    }
    [[dont_unroll]] for (uint q = gl_LocalInvocationIndex; q < PIECES_B; q += gl_WorkGroupSize.x) {
        uint r = q / (COLS_B / PIECE), c = q % (COLS_B / PIECE) * PIECE;
        putPiece(b, r, c, pieceOfB(pb, r, c, k, n0, kEnd));
    }
}

void finish(uint64_t base, uint r, uint c, vec4 x) {
    int left = r < args.m ? columnsLeft(c, args.n) : 0;
    if (left == 0) return;
    uint64_t row = base + uint64_t(r) * args.ldc;
    if (args.splits > 1) {
        storeTail4F(atF(F32Buf(uint64_t(args.c)), row), c, left, x);
        return;
    }
    // CPU drivers may run both sides of a branch: no load goes through a null pointer.
    TBuf bias = isNull(args.bias) ? args.c : args.bias, d = isNull(args.d) ? args.c : args.d;
    x *= args.alpha;
    if (!isNull(args.bias)) x += loadTail4T(bias, c, left);
    if (OUT_F32) {
        if (!isNull(args.d)) x += args.beta * loadTail4F(atF(F32Buf(uint64_t(d)), row), c, left);
        storeTail4F(atF(F32Buf(uint64_t(args.c)), row), c, left, x);
    } else {
        if (!isNull(args.d)) x += args.beta * loadTail4T(atT(d, row), c, left);
        storeTail4T(atT(args.c, row), c, left, x);
    }
}

void main() {
    uint tilesM = (args.m + TILE_M - 1) / TILE_M, tilesN = (args.n + TILE_N - 1) / TILE_N;
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint layer = group / (tilesM * tilesN), tile_ = group % (tilesM * tilesN);
    if (layer >= args.batch * args.splits) return;
    uint strip = tile_ / (STRIP * tilesN), inStrip = tile_ % (STRIP * tilesN);
    uint height = min(STRIP, tilesM - strip * STRIP);
    uint m0 = (strip * STRIP + inStrip % height) * TILE_M, n0 = inStrip / height * TILE_N;
    uint kBegin = layer % args.splits * args.kPerSplit, kEnd = min(args.k, kBegin + args.kPerSplit);
    TBuf pa = atT(args.a, uint64_t(layer / args.splits) * args.strideA), pb = atT(args.b, uint64_t(layer / args.splits) * args.strideB);

    Tile a = Tile(0, tileStride(COLS_A), TRANS_A);
    Tile b = Tile(tileQuads(ROWS_A, COLS_A), tileStride(COLS_B), TRANS_B);
    Acc acc;
    accZero(acc);
    Carry carry;
    if (isWhole(kBegin, m0, n0, kEnd)) fetch(carry, pa, pb, kBegin, m0, n0);
    [[dont_unroll]] for (uint k = kBegin; k < kEnd; k += TILE_K) {
        if (isWhole(k, m0, n0, kEnd)) put(carry, a, b);
        else stage(pa, pb, a, b, k, m0, n0, kEnd);
        barrier();
        if (isWhole(k + TILE_K, m0, n0, kEnd)) fetch(carry, pa, pb, k + TILE_K, m0, n0);
        mma(acc, a, b, TILE_K);
        barrier();
    }
    uint64_t base = uint64_t(layer) * args.m * args.ldc;
    ACC_EACH(acc, r, c, x, finish(base, m0 + r, n0 + c, x);)
}
