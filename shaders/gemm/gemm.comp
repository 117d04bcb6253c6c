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
    uint kPerSplit;         // a multiple of two slices
    float alpha;
    float beta;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool TRANS_A = false;        // A lies as [k,m]
layout(constant_id = 9) const bool TRANS_B = false;        // B lies as [n,k]
layout(constant_id = 10) const uint ALIGNED = 4;           // all rows of A and B begin at multiples of so many elements: 8, 4, or 1 for any
layout(constant_id = 11) const bool OUT_F32 = false;
layout(constant_id = 12) const uint SLICE = 32;            // of the reduction, in shared memory at a time
layout(constant_id = 13) const uint OUT_ALIGNED = 4;       // the same as ALIGNED for C, D and bias
layout(constant_id = 14) const bool HAS_BIAS = true;
layout(constant_id = 15) const bool HAS_D = true;
layout(constant_id = 16) const bool IS_PARTIAL = false;    // splits > 1

const uint STRIP = 16;      // tile rows that run together, for the cache's sake

#define ROWS_A (TRANS_A ? SLICE : TILE_M)
#define COLS_A (TRANS_A ? TILE_M : SLICE)
#define ROWS_B (TRANS_B ? TILE_N : SLICE)
#define COLS_B (TRANS_B ? SLICE : TILE_N)
#define TILE_ALIGNED (ALIGNED >= 4 && OUT_ALIGNED >= 4)
#define SLICE_QUADS (tileQuads(ROWS_A, COLS_A) + tileQuads(ROWS_B, COLS_B))
#ifdef MM_coopmat
#define OUT_STRIDE (PER_N * FRAG_N / 4 + 1)                                 // of a row of a subgroup's fragments in fp32, in octs of the pool
#define OUT_QUADS (SUBGROUPS * FRAG_M * OUT_STRIDE * 2)
#define TILE_QUADS (SLICE_QUADS > OUT_QUADS ? SLICE_QUADS : OUT_QUADS)
#define TILE_BARE
#else
#define TILE_QUADS SLICE_QUADS
#endif
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
// Two slices are read at a time, as lines of 128 bytes cost least, and landed one by one. Every invocation reads the same number of pieces. Places past the edges
// of C read the edge: what is made of them is any number, and is not stored.
#define LINE (2 * SLICE)
const uint CARRY_A = TILE_M * SLICE / PIECE / gl_WorkGroupSize.x;
const uint CARRY_B = TILE_N * SLICE / PIECE / gl_WorkGroupSize.x;
const bool AHEAD = !TILE_CPU && ALIGNED >= PIECE && TILE_M * SLICE / PIECE % gl_WorkGroupSize.x == 0 && TILE_N * SLICE / PIECE % gl_WorkGroupSize.x == 0;
struct Carry { Piece a[CARRY_A + 1]; Piece a2[CARRY_A + 1]; Piece b[CARRY_B + 1]; Piece b2[CARRY_B + 1]; };      // no array is empty

// An operand that lies along k: piece i of an invocation is part of a line, its second one the part of the line 4 rows on that belongs to the other slice. So each
// slice gets one of the two, and eight lanes that land together, 4 in either row, touch every bank of shared memory once.
#define LINE_PIECES (LINE / PIECE)
uint lineRow(uint i) {
    uint r = (gl_LocalInvocationIndex + i * gl_WorkGroupSize.x) / LINE_PIECES;
    return r & 3 | (r & ~3u) << 1;
}
uint lineColumn() { return gl_LocalInvocationIndex % LINE_PIECES * PIECE; }
bool isLineOf(uint slice) { return lineColumn() / SLICE == slice; }

// An operand that lies across k: piece i is of the first slice, its second one of the second.
uint acrossRow(uint i, uint columns) { return (gl_LocalInvocationIndex + i * gl_WorkGroupSize.x) / (columns / PIECE); }
uint acrossColumn(uint columns) { return gl_LocalInvocationIndex % (columns / PIECE) * PIECE; }

// Both pieces i of an operand whose tile begins at o0 of o.
#define FETCH(first, second, p, isAlong, ld, tile, o0, o, k, i) { \
    uint row = isAlong ? min(o0 + lineRow(i), o - 1) : k + acrossRow(i, tile), row2 = isAlong ? min(o0 + lineRow(i) + 4, o - 1) : row + SLICE; \
    uint column = isAlong ? k + lineColumn() : min(o0 + acrossColumn(tile), o - PIECE), column2 = isAlong ? k + (lineColumn() + SLICE) % LINE : column; \
    first = PieceBuf(uint64_t(p) + uint64_t(column) * T_SIZE + uint64_t(row) * (ld * T_SIZE)).v; \
    second = PieceBuf(uint64_t(p) + uint64_t(column2) * T_SIZE + uint64_t(row2) * (ld * T_SIZE)).v; }
#define LAND(tile, first, second, isAlong, columns, slice, i) \
    if (isAlong) putPiece(tile, isLineOf(slice) ? lineRow(i) : lineRow(i) + 4, lineColumn() % SLICE, isLineOf(slice) ? first : second); \
    else putPiece(tile, acrossRow(i, columns), acrossColumn(columns), slice == 0 ? first : second);

void fetch(inout Carry carry, TBuf pa, TBuf pb, uint k, uint m0, uint n0) {
    [[unroll]] for (uint i = 0; i < CARRY_A; i++) FETCH(carry.a[i], carry.a2[i], pa, !TRANS_A, args.lda, TILE_M, m0, args.m, k, i)
    [[unroll]] for (uint i = 0; i < CARRY_B; i++) FETCH(carry.b[i], carry.b2[i], pb, TRANS_B, args.ldb, TILE_N, n0, args.n, k, i)
}

void land(Carry carry, Tile a, Tile b, uint slice) {
    [[unroll]] for (uint i = 0; i < CARRY_A; i++) LAND(a, carry.a[i], carry.a2[i], !TRANS_A, TILE_M, slice, i)
    [[unroll]] for (uint i = 0; i < CARRY_B; i++) LAND(b, carry.b[i], carry.b2[i], TRANS_B, TILE_N, slice, i)
}

// ---- out ------------------------------------------------------------------------------------------------------------------
// Beta·D, four columns of a row; zeros without D.
vec4 addend(uint64_t row, uint c, int left) {
    if (!HAS_D || left <= 0) return vec4(0);
    if (OUT_F32) return args.beta * loadTail4F(atF(F32Buf(uint64_t(args.d)), row), c, left);
    return args.beta * loadTail4T(atT(args.d, row), c, left);
}

vec4 finished(vec4 x, uint c, int left, vec4 add) {
    if (IS_PARTIAL) return x;
    x *= args.alpha;
    if (HAS_BIAS) x += loadTail4T(args.bias, c, left);
    return x + add;
}

void store(uint64_t row, uint c, int left, vec4 x) {
    if (OUT_F32 || IS_PARTIAL) storeTail4F(atF(F32Buf(uint64_t(args.c)), row), c, left, x);
    else storeTail4T(atT(args.c, row), c, left, x);
}

#ifdef MM_coopmat
// A row of a subgroup's fragments at a time through the pool, so that lanes write whole rows. What D holds is read first, all loads at once; without D the
// visit is a loop: code that runs once for each tile has to be short, as it comes from memory.
#define OUT_RUNS ((FRAG_M * PER_N * FRAG_N / 8 + SUBGROUP - 1) / SUBGROUP)
#define OUT_RUN(i, z, statements) { \
    uint outE = gl_SubgroupInvocationID + z * SUBGROUP, outR = outE / (PER_N * FRAG_N / 8), outC = outE % (PER_N * FRAG_N / 8) * 8; \
    uint r = m0 + accRow(i) + outR, c = n0 + accColumn(0) + outC; \
    int left = r < args.m && outR < FRAG_M ? columnsLeft(c, args.n) : 0; \
    uint64_t row = base + uint64_t(r) * args.ldc; \
    statements }
#define OUT_STORE(add, add2) if (left > 0) { \
    uint at = gl_SubgroupID * FRAG_M * OUT_STRIDE + outR * OUT_STRIDE + outC / 4; \
    vec4 x = finished(uintBitsToFloat(tilePool[at]), c, left, add), y = finished(uintBitsToFloat(tilePool[at + 1]), c + 4, left - 4, add2); \
    if (OUT_ALIGNED >= 8 && !OUT_F32 && !IS_PARTIAL) U32x4Buf(uint64_t(atT(args.c, row + c))).v = uvec4(tilePack(x), tilePack(y)); \
    else { store(row, c, left, x); store(row, c + 4, left - 4, y); } }
#define OUT(acc, base, m0, n0) if (accActive()) { \
    [[unroll]] for (uint tileI = 0; tileI < PER_M; tileI++) { \
        vec4 low[OUT_RUNS], high[OUT_RUNS]; \
        if (HAS_D) { [[unroll]] for (uint z = 0; z < OUT_RUNS; z++) OUT_RUN(tileI, z, low[z] = addend(row, c, left); high[z] = addend(row, c + 4, left - 4);) } \
        [[unroll]] for (uint tileJ = 0; tileJ < PER_N; tileJ++) \
            coopMatStore(acc.f[tileI * PER_N + tileJ], tilePool, gl_SubgroupID * FRAG_M * OUT_STRIDE + tileJ * (FRAG_N / 4), OUT_STRIDE, gl_CooperativeMatrixLayoutRowMajor); \
        tileSync(); \
        if (HAS_D) { [[unroll]] for (uint z = 0; z < OUT_RUNS; z++) OUT_RUN(tileI, z, OUT_STORE(low[z], high[z])) } \
        else { [[dont_unroll]] for (uint z = 0; z < OUT_RUNS; z++) OUT_RUN(tileI, z, OUT_STORE(vec4(0), vec4(0))) } \
        tileSync(); \
    } }
#else
#define OUT(acc, base, m0, n0) ACC_EACH(acc, r, c, x, { \
    int left = m0 + r < args.m ? columnsLeft(n0 + c, args.n) : 0; \
    uint64_t row = base + uint64_t(m0 + r) * args.ldc; \
    if (left > 0) store(row, n0 + c, left, finished(x, n0 + c, left, addend(row, n0 + c, left))); \
    })
#endif

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
    uint k = kBegin;
    if (AHEAD && kEnd - kBegin >= LINE) {
        uint last = kBegin + (kEnd - kBegin) / LINE * LINE - LINE;
        Carry carry;
        fetch(carry, pa, pb, k, m0, n0);
        [[dont_unroll]] for (; k <= last; k += LINE) {
            land(carry, a, b, 0);
            barrier();
            mma(acc, a, b, SLICE);
            barrier();
            land(carry, a, b, 1);
            barrier();
            fetch(carry, pa, pb, min(k + LINE, last), m0, n0);
            mma(acc, a, b, SLICE);
            barrier();
        }
    }
    [[dont_unroll]] for (; k < kEnd; k += SLICE) {
        stage(pa, pb, a, b, k, m0, n0, kEnd);
        barrier();
        mma(acc, a, b, SLICE);
        barrier();
    }
    uint64_t base = uint64_t(layer) * args.m * args.ldc;
    OUT(acc, base, m0, n0)
}
