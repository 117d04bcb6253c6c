// The tile product: acc[M×N] += A[M×k]·B[k×N] for one workgroup, operands in shared memory, accumulators in fp32 registers.
//
// Two bodies behind the same verbs: cooperative matrices (MM_coopmat, operands in the 16-bit storage type) and plain FMA
// (MM_plain, operands widened to fp32). A kernel says how much shared memory it wants, includes this file, and reads like this
// (O = mask(Q·Kᵀ)·V for one tile of 64 rows and head dims up to 64):
//
//   #define TILE_QUADS (3 * tileQuads(64, 64))           // room for tiles, in units of 4 elements
//   #define TILE_VECTOR 64                               // floats of tileVector[], for accScaleRows / accScaleColumns
//   #include "common/tile.glsl"
//   const Tile Q = Tile(0, tileStride(64), false), K = Tile(tileQuads(64, 64), tileStride(64), false), V = ...;
//   void main() {
//       TILE_STAGE(Q, 64, 64, r, c, loadQuad(args.q, r * D + c, r < rows ? int(D - c) : 0))
//       TILE_STAGE(K, ...)  TILE_STAGE(V, ..., load4T(args.v, i) * gate(r))      // a vec4 works too: scaled on the way
//       barrier();
//       Acc s; accZero(s);
//       mma(s, Q, T(K), 64);                             // s += Q·Kᵀ
//       barrier();                                       // Q may now be overwritten
//       ACC_EACH(s, r, c, x, tilePut(Q, r, c, causal(r, c, x));)
//       barrier();
//       Acc o; accZero(o);
//       mma(o, Q, V, 64);
//       ACC_EACH(o, r, c, x, storeTail4T(args.o, r * D + c, r < rows ? int(D - c) : 0, x);)
//   }
//
// The verbs
//   Tile(at, stride, transposed)       a tile in the pool, at and stride in quads, both even; rows are tileStride(columns) apart (padded by 16 bytes)
//   T(tile)                            the same memory read as its transpose
//   TILE_STAGE(tile, rows, cols, r, c, quad)   all invocations fill the tile, cols a multiple of 8; quad, without side effects, gives
//                                      elements (r, c..c+3) as vec4 or loadQuad's bits
//   tilePut(tile, r, c, quad), tileGet(tile, r, c)      four elements of a row, c a multiple of 4
//   tilePutFloat(i, x), tileGetFloat(i)    the pool as plain floats, when no tile needs the place
//   Acc; accZero, accScale(acc, float), accAdd(acc, acc2)
//   accScaleRows(acc, at), accScaleColumns(acc, at)     times tileVector[at + r], tileVector[at + c]
//   mma(acc, a, b, k)                  acc += a·b, k a multiple of 16; rows and columns beyond the data must hold zeros or be ignored later
//   ACC_SET(acc, r, c, expr)           acc(r, c..c+3) = expr (vec4)
//   ACC_MAP(acc, r, c, x, expr)        acc(r, c..c+3) = expr(x)
//   ACC_EACH(acc, r, c, x, statements) visits every (r, c..c+3) of the accumulator once; statements see x = its four values
//   ACC_PUT(acc, tile, r, c, x, expr)  tile(r, c..c+3) = expr(x), eight columns at a time where it can
//                                      With TILE_SCRATCH defined ACC_* use TILE_SCRATCH_OCTS of the pool from that oct on, else memory of their own.
//   mmaEach(accs, count, a, t, b, k)   accs[t] += a·b for t < count, b an expression of t
//   accLay(acc, tile)                  tile = acc
//   ACC_STORE(acc, p, r, c, i, left, x, expr)  p[i..i+3] = expr(x) in the storage type for (r, c..c+3), guarded as storeTail4T; i and left are expressions of r and c
//   TILE_ROWS(tile, rows, cols, p, r0, c0, width, stride, limit)  fills the tile with rows r0.. and columns c0.. of an array of rows of `width`
//                                      elements, `stride` apart, zeros from row `limit` and column `width` on
//   TILE_SCALED_ROWS(..., r, factor)   the same, row r of the tile times factor (a float)
//   TILE_AHEAD(next, count, rows, cols), TILE_FETCH(next, start, rows, cols, p, r0, c0, width, stride, limit), TILE_LAND(tile, rows, cols, next, start, r0, c0, width, limit)
//                                      TILE_ROWS in two steps, with products between them: cooperative matrices only (TILE_RUNS)
//   Rows                               with TILE_OWN_ROWS, cooperative matrices only: on GPUs a subgroup has whole rows of the accumulator tiles, and in registers 64 columns of
//                                      the same rows of a left operand. CPU drivers compile that for seconds: there the operand stays in its tile
//   rowsLoad(rows, tile, k), accAsRows(rows, acc, tile)     k columns of a tile; an accumulator in the storage type: component by component where CHAIN says that they lie
//                                      alike, else through a tile, with barriers
//   mmaRows(acc, rows, a, b, k)        acc += rows·b, of the first k columns of rows; a is the tile that they came from
//   ACC_COMPONENTS(acc, rows, columns, x, u, v, beyond, expr)   acc = expr(x), component by component; u is tileVector[rows + r], v tileVector[columns + c], beyond c - r.
//                                      tileVector holds 0, 1, .. FRAG_M - 1 from TILE_NUMBERS on
//   loadQuad(p, i, left), loadTail4T, loadTail4F, storeTail4T(p, i, left, x), storeTail4F    guarded: left = how many elements from i on exist (<= 0: none). TILE_ALIGNED
//                                      false says that i may be no multiple of 4; TILE_WHOLE true that i is a multiple of 8, left is too where
//                                      positive, and p of 16 bytes: no tails, and whole octs (eight elements) from memory; TILE_SOLID that there are all columns of
//                                      a tile, and where there are rows at all any of them may be read for those that are not. A limit of EVERY_ROW:
//                                      all rows of the tile are there
// A verb is a statement of its own: put braces around it under an if. No verb but ACC_* synchronises, and those only inside a subgroup: barrier() between writing a tile and reading it is the kernel's.
// Macro arguments hold no commas outside parentheses. Every invocation of the workgroup runs every verb.
//
// Specialization constants 1..7 are taken here (see below); a kernel's own start at 8. Slices of the reduction that fit
// 32 KiB beside another tile: TILE_K columns.
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_memory_scope_semantics : require
#ifdef MM_coopmat
#extension GL_KHR_cooperative_matrix : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#ifdef T_bf16
#extension GL_EXT_bfloat16 : require
#endif
#endif

layout(constant_id = 1) const uint SUBGROUP = 32;          // invocations in a subgroup
layout(constant_id = 2) const uint TILE_M = 64;            // the accumulator tile: 16, 32, 64 or 128 each way
layout(constant_id = 3) const uint TILE_N = 64;
layout(constant_id = 4) const uint FRAG_M = 16;            // a cooperative matrix
layout(constant_id = 5) const uint FRAG_N = 16;
layout(constant_id = 6) const uint FRAG_K = 16;
layout(constant_id = 7) const bool TILE_CPU = false;       // lanes run down the rows, as a CPU driver's vectors like it

#ifndef TILE_ALIGNED
#define TILE_ALIGNED true
#endif
// TILE_ROLLED: a kernel with many fragments a subgroup visits them in a loop. TILE_BARE: a kernel that visits no elements needs no scratch for that.
#ifndef TILE_WHOLE
#define TILE_WHOLE false
#endif
#ifndef TILE_SOLID
#define TILE_SOLID false
#endif
#ifndef TILE_VECTOR
#define TILE_VECTOR 4
#endif
#define EVERY_ROW 0xffffffffu

// A quad is four elements: two uints of 16-bit patterns for cooperative matrices, else a vec4. The pool of the former is made of uvec4, two
// quads each (an oct): only of 16-byte elements do drivers know that a row is aligned for 16-byte stores and matrix loads.
#ifdef MM_coopmat
#define TILE_K 64
#define TILE_PAD 2
#else
#define TILE_K 32
#define TILE_PAD 1
#endif
#define tileStride(cols) ((cols) / 4 + TILE_PAD)
#define tileQuads(rows, cols) ((rows) * tileStride(cols))
#define TILE_SCRATCH_OCTS (gl_WorkGroupSize.x / SUBGROUP * FRAG_M * (FRAG_N / 4 + 1))

// The bound of a loop that GPUs unroll. For CPU drivers the bound is not a constant (but n: there are not 2^31 workgroups), so the
// loop stays a loop and compiles in a fraction of the time.
uint tileTrip(uint n) { return TILE_CPU ? n + (gl_NumWorkGroups.x >> 31) : n; }

struct Tile { uint at; uint stride; bool transposed; };
Tile T(Tile t) { return Tile(t.at, t.stride, !t.transposed); }

#ifdef MM_coopmat
// Fragments of FRAG_M × FRAG_N are dealt to a grid of SG_M × SG_N subgroups, each with PER_M × PER_N of them; subgroups beyond the grid idle.
const uint SUBGROUPS = gl_WorkGroupSize.x / SUBGROUP;
const uint FRAGS_M = TILE_M / FRAG_M;
const uint FRAGS_N = TILE_N / FRAG_N;
#ifdef TILE_OWN_ROWS
const uint SG_WANT_N = TILE_CPU ? 4 : 1;
#else
const uint SG_WANT_N = SUBGROUPS >= 8 ? 4 : SUBGROUPS >= 2 ? 2 : 1;
#endif
const uint SG_CAN_N = SG_WANT_N < FRAGS_N ? SG_WANT_N : FRAGS_N;
const uint SG_M = SUBGROUPS / SG_CAN_N < FRAGS_M ? SUBGROUPS / SG_CAN_N : FRAGS_M;
const uint SG_N = SUBGROUPS / SG_M < FRAGS_N ? SUBGROUPS / SG_M : FRAGS_N;
const uint PER_M = FRAGS_M / SG_M;
const uint PER_N = FRAGS_N / SG_N;

shared uvec4 tilePool[(TILE_QUADS + 1) / 2];
#else
shared vec4 tilePool[TILE_QUADS];
#endif
shared float tileVector[TILE_VECTOR];

#if defined(MM_coopmat) && defined(T_f16)
uvec2 tilePack(vec4 x) { return uvec2(packFloat2x16(f16vec2(x.xy)), packFloat2x16(f16vec2(x.zw))); }
#elif defined(MM_coopmat)
uint tilePair(float x, float y) { return bitfieldInsert(bf16Near(y), bf16Near(x) >> 16, 0, 16); }
uvec2 tilePack(vec4 x) { return uvec2(tilePair(x.x, x.y), tilePair(x.z, x.w)); }
#endif

#ifdef MM_coopmat
uvec2 tilePack(uvec2 bits) { return bits; }
void tilePutAt(uint i, uvec2 bits) {
    tilePool[i >> 1][(i & 1) * 2] = bits.x;
    tilePool[i >> 1][(i & 1) * 2 + 1] = bits.y;
}
uvec2 tileGetAt(uint i) { return (i & 1) == 0 ? tilePool[i >> 1].xy : tilePool[i >> 1].zw; }
void tilePut(Tile t, uint r, uint c, vec4 x) { tilePutAt(t.at + r * t.stride + c / 4, tilePack(x)); }
void tilePut(Tile t, uint r, uint c, uvec2 bits) { tilePutAt(t.at + r * t.stride + c / 4, bits); }
void tilePutOctet(Tile t, uint r, uint c, uvec4 bits) { tilePool[(t.at + r * t.stride + c / 4) >> 1] = bits; }   // c a multiple of 8
void tilePutFloat(uint i, float x) { tilePool[i / 4][i % 4] = floatBitsToUint(x); }
float tileGetFloat(uint i) { return uintBitsToFloat(tilePool[i / 4][i % 4]); }
vec4 tileGet(Tile t, uint r, uint c) { return unpack4(tileGetAt(t.at + r * t.stride + c / 4)); }
#else
void tilePutFloat(uint i, float x) { tilePool[i / 4][i % 4] = x; }
float tileGetFloat(uint i) { return tilePool[i / 4][i % 4]; }
void tilePut(Tile t, uint r, uint c, vec4 x) { tilePool[t.at + r * t.stride + c / 4] = x; }
#ifndef T_f32
void tilePut(Tile t, uint r, uint c, uvec2 bits) { tilePool[t.at + r * t.stride + c / 4] = unpack4(bits); }
#endif
vec4 tileGet(Tile t, uint r, uint c) { return tilePool[t.at + r * t.stride + c / 4]; }
#endif

// ---- global memory, guarded -----------------------------------------------------------------------------------------
#ifdef T_f32
#define loadQuad loadTail4T
#else
uvec2 loadQuad(TBuf p, uint i, int left) {
    uvec2 bits = uvec2(0);
    if (TILE_WHOLE ? left > 0 : TILE_ALIGNED && left >= 4) bits = U16x4Buf(uint64_t(p) + uint64_t(i) * 2ul).v;
    else if (!TILE_WHOLE) {
        if (left > 0) bits.x = uint(p.v[i]);
        if (left > 1) bits.x |= uint(p.v[i + 1]) << 16;
        if (left > 2) bits.y = uint(p.v[i + 2]);
        if (left > 3) bits.y |= uint(p.v[i + 3]) << 16;
    }
    return bits;
}

uvec4 loadOct(TBuf p, uint i, int left) {
    if (!TILE_WHOLE) return uvec4(loadQuad(p, i, left), loadQuad(p, i + 4, left - 4));
    uvec4 bits = uvec4(0);
    if (left > 0) bits = U32x4Buf(uint64_t(p) + uint64_t(i) * 2ul).v;
    return bits;
}
#endif

vec4 loadTail4T(TBuf p, uint i, int left) {
    vec4 x = vec4(0);
    if (TILE_WHOLE ? left > 0 : TILE_ALIGNED && left >= 4) x = load4T(p, i);
    else if (!TILE_WHOLE) {
        if (left > 0) x.x = loadT(p, i);
        if (left > 1) x.y = loadT(p, i + 1);
        if (left > 2) x.z = loadT(p, i + 2);
        if (left > 3) x.w = loadT(p, i + 3);
    }
    return x;
}

vec4 loadTail4F(F32Buf p, uint i, int left) {
    vec4 x = vec4(0);
    if (TILE_WHOLE ? left > 0 : TILE_ALIGNED && left >= 4) x = load4F(p, i);
    else if (!TILE_WHOLE) {
        if (left > 0) x.x = p.v[i];
        if (left > 1) x.y = p.v[i + 1];
        if (left > 2) x.z = p.v[i + 2];
        if (left > 3) x.w = p.v[i + 3];
    }
    return x;
}

void storeTail4T(TBuf p, uint i, int left, vec4 x) {
    if (TILE_WHOLE ? left > 0 : TILE_ALIGNED && left >= 4) store4T(p, i, x);
    else if (!TILE_WHOLE) {
        if (left > 0) storeT(p, i, x.x);
        if (left > 1) storeT(p, i + 1, x.y);
        if (left > 2) storeT(p, i + 2, x.z);
        if (left > 3) storeT(p, i + 3, x.w);
    }
}

void storeTail4F(F32Buf p, uint i, int left, vec4 x) {
    if (TILE_WHOLE ? left > 0 : TILE_ALIGNED && left >= 4) store4F(p, i, x);
    else if (!TILE_WHOLE) {
        if (left > 0) p.v[i] = x.x;
        if (left > 1) p.v[i + 1] = x.y;
        if (left > 2) p.v[i + 2] = x.z;
        if (left > 3) p.v[i + 3] = x.w;
    }
}

// All of 0..total-1 dealt over the workgroup. (Loops that begin at the invocation's number have no constant trip count, and drivers do not unroll them.)
#define TILE_DEAL(i, total) \
    [[unroll]] for (uint tileJ = 0, i = gl_LocalInvocationIndex; tileJ < tileTrip(total); tileJ += gl_WorkGroupSize.x, i += gl_WorkGroupSize.x) \
        if ((total) % gl_WorkGroupSize.x == 0 || i < (total))

#ifdef MM_coopmat
void storeOct(TBuf p, uint i, int left, uvec2 low, uvec2 high) {
    if (TILE_WHOLE) {
        if (left > 0) U32x4Buf(uint64_t(p) + uint64_t(i) * 2ul).v = uvec4(low, high);
    } else if (TILE_ALIGNED && left >= 8) {
        U16x4Buf(uint64_t(p) + uint64_t(i) * 2ul).v = low;
        U16x4Buf(uint64_t(p) + uint64_t(i) * 2ul + 8ul).v = high;
    } else {
        [[unroll]] for (int e = 0; e < 8; e++) if (e < left) p.v[i + e] = uint16_t((e < 4 ? low : high)[e % 4 / 2] >> (16 * (e % 2)));
    }
}

// Octs of a tile that an invocation reads.
#define TILE_RUNS(rows, cols) (((rows) * ((cols) / 8) + gl_WorkGroupSize.x - 1) / gl_WorkGroupSize.x)
#define TILE_AHEAD(next, count, rows, cols) uvec4 next[(count) * TILE_RUNS(rows, cols)];
// Rows of 4 octs lie 80 bytes apart: dealt in this order, eight lanes that store at once touch every bank once.
uint tileRunRow(uint j, uint cols) {
    uint row = (gl_LocalInvocationIndex + j * gl_WorkGroupSize.x) / (cols / 8);
    return cols == 32 ? row & ~7u | (row & 1) << 2 | row >> 1 & 3 : row;
}
#define TILE_EACH_RUN(rows, cols, j, r, c, statements) \
    [[unroll]] for (uint j = 0; j < TILE_RUNS(rows, cols); j++) { \
        uint r = tileRunRow(j, cols), c = (gl_LocalInvocationIndex + j * gl_WorkGroupSize.x) % ((cols) / 8) * 8; \
        statements \
    }
uvec4 tileScaled(uvec4 oct, float s) { return uvec4(tilePack(unpack4(oct.xy) * s), tilePack(unpack4(oct.zw) * s)); }
// An oct to come: nothing looks at it before it lands, so that a load need not wait for the one before. Beyond the array it is any other oct of it.
uvec4 nextOct(TBuf p, uint r, uint c, uint width, uint stride, uint limit) {
    if (TILE_SOLID) return U32x4Buf(uint64_t(p) + uint64_t((limit == EVERY_ROW ? r : min(r, limit - 1)) * stride + c) * 2ul).v;
    if (TILE_WHOLE) return U32x4Buf(uint64_t(p) + uint64_t(c < width && r < limit ? r * stride + c : 0) * 2ul).v;
    return loadOct(p, r * stride + c, r < limit ? int(width) - int(c) : 0);
}
uvec4 landedOct(uvec4 next, uint r, uint c, uint width, uint limit) { return !TILE_WHOLE || (TILE_SOLID || c < width) && (limit == EVERY_ROW || r < limit) ? next : uvec4(0); }
// Where nothing is missing an invocation's octs are as many rows apart as the workgroup reads at once: one place, and sums of constants.
#define TILE_FETCH(next, start, rows, cols, p, r0, c0, width, stride, limit) \
    if (TILE_SOLID && (limit) == EVERY_ROW) { \
        uint64_t tileFrom = uint64_t(p) + uint64_t(((r0) + tileRunRow(0, cols)) * (stride) + (c0) + gl_LocalInvocationIndex % ((cols) / 8) * 8) * 2ul; \
        [[unroll]] for (uint tileJ = 0; tileJ < TILE_RUNS(rows, cols); tileJ++) \
            next[(start) + tileJ] = U32x4Buf(tileFrom + uint64_t(tileJ * (gl_WorkGroupSize.x / ((cols) / 8)) * 2 * (stride))).v; \
    } else { \
        TILE_EACH_RUN(rows, cols, tileJ, tileR, tileC, next[(start) + tileJ] = nextOct(p, (r0) + tileR, (c0) + tileC, width, stride, limit);) \
    }
#define TILE_LAND_RUNS(tile, rows, cols, r, c, oct) \
    TILE_EACH_RUN(rows, cols, tileJ, r, c, \
        if ((rows) * ((cols) / 8) % gl_WorkGroupSize.x == 0 || r < (rows)) tilePool[(tile.at + r * tile.stride + c / 4) >> 1] = oct;)
#define TILE_LAND(tile, rows, cols, next, start, r0, c0, width, limit) \
    TILE_LAND_RUNS(tile, rows, cols, tileR, tileC, landedOct(next[(start) + tileJ], (r0) + tileR, (c0) + tileC, width, limit))
#define TILE_LAND_SCALED(tile, rows, cols, next, start, r0, c0, width, limit, r, factor) \
    TILE_LAND_RUNS(tile, rows, cols, r, tileC, tileScaled(landedOct(next[(start) + tileJ], (r0) + r, (c0) + tileC, width, limit), factor))
#define TILE_ROWS(tile, rows, cols, p, r0, c0, width, stride, limit) { \
    TILE_AHEAD(tileNext, 1, rows, cols) \
    TILE_FETCH(tileNext, 0, rows, cols, p, r0, c0, width, stride, limit) \
    TILE_LAND(tile, rows, cols, tileNext, 0, r0, c0, width, limit) }
#define TILE_SCALED_ROWS(tile, rows, cols, p, r0, c0, width, stride, limit, r, factor) { \
    TILE_AHEAD(tileNext, 1, rows, cols) \
    TILE_FETCH(tileNext, 0, rows, cols, p, r0, c0, width, stride, limit) \
    TILE_LAND_SCALED(tile, rows, cols, tileNext, 0, r0, c0, width, limit, r, factor) }

#define TILE_STAGE(tile, rows, cols, r, c, quad) { \
    uvec4 tileNext[TILE_RUNS(rows, cols)]; \
    TILE_EACH_RUN(rows, cols, tileJ, r, tileC, \
        { uint c = tileC; tileNext[tileJ].xy = tilePack(quad); } \
        { uint c = tileC + 4; tileNext[tileJ].zw = tilePack(quad); }) \
    TILE_LAND_RUNS(tile, rows, cols, tileR, tileC, tileNext[tileJ]) }
#else
#ifdef T_f32
vec4 tileWiden(vec4 x) { return x; }
#else
vec4 tileWiden(uvec2 bits) { return unpack4(bits); }
#endif
#define TILE_STAGE(tile, rows, cols, r, c, quad) { \
    TILE_DEAL(tileI, (rows) * ((cols) / 4)) { \
        uint r = tileI / ((cols) / 4), c = tileI % ((cols) / 4) * 4; \
        tilePut(tile, r, c, quad); \
    } }
#define TILE_ROW_QUAD(p, r, c, width, stride, limit) loadQuad(p, (r) * (stride) + (c), (r) < (limit) ? int(width) - int(c) : 0)
#define TILE_ROWS(tile, rows, cols, p, r0, c0, width, stride, limit) \
    TILE_STAGE(tile, rows, cols, tileR, tileC, TILE_ROW_QUAD(p, (r0) + tileR, (c0) + tileC, width, stride, limit))
#define TILE_SCALED_ROWS(tile, rows, cols, p, r0, c0, width, stride, limit, r, factor) \
    TILE_STAGE(tile, rows, cols, r, tileC, (tileWiden(TILE_ROW_QUAD(p, (r0) + r, (c0) + tileC, width, stride, limit)) * (factor)))
#endif

#ifdef MM_coopmat
#include "common/tile_coopmat.glsl"
#else
#include "common/tile_plain.glsl"
#endif
