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
//   loadQuad(p, i, left), loadTail4T, loadTail4F, storeTail4T(p, i, left, x), storeTail4F    guarded: left = how many elements from i on exist (<= 0: none). TILE_ALIGNED
//                                      false says that i may be no multiple of 4
// No verb but ACC_* synchronises, and those only inside a subgroup: barrier() between writing a tile and reading it is the kernel's.
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
#ifndef TILE_VECTOR
#define TILE_VECTOR 4
#endif

// A quad is four elements: two uints of 16-bit patterns for cooperative matrices, else a vec4. The pool of the former is made of uvec4, two
// quads each: only of 16-byte elements do drivers know that a row is aligned for 16-byte stores and matrix loads.
#ifdef MM_coopmat
#define TILE_K 64
#define TILE_PAD 2
#else
#define TILE_K 32
#define TILE_PAD 1
#endif
#define tileStride(cols) ((cols) / 4 + TILE_PAD)
#define tileQuads(rows, cols) ((rows) * tileStride(cols))

// The bound of a loop that GPUs unroll. For CPU drivers the bound is not a constant (but n: there are not 2^31 workgroups), so the
// loop stays a loop and compiles in a fraction of the time.
uint tileTrip(uint n) { return TILE_CPU ? n + (gl_NumWorkGroups.x >> 31) : n; }

struct Tile { uint at; uint stride; bool transposed; };
Tile T(Tile t) { return Tile(t.at, t.stride, !t.transposed); }

shared float tileVector[TILE_VECTOR];

#ifdef MM_coopmat
shared uvec4 tilePool[(TILE_QUADS) / 2];

#ifdef T_f16
uvec2 tileBits(vec4 x) { return uvec2(packFloat2x16(f16vec2(x.xy)), packFloat2x16(f16vec2(x.zw))); }
#else
uvec2 tileBits(vec4 x) { return pack4(x); }
#endif
uvec2 tileBits(uvec2 bits) { return bits; }

#define tilePut(tile, r, c, quad) tilePutBits(tile, r, c, tileBits(quad))
void tilePutBits(Tile t, uint r, uint c, uvec2 bits) {
    uint q = t.at + r * t.stride + c / 4;
    tilePool[q / 2][q % 2 * 2] = bits.x;
    tilePool[q / 2][q % 2 * 2 + 1] = bits.y;
}

// Eight elements, c a multiple of 8.
void tilePutOctet(Tile t, uint r, uint c, uvec4 bits) { tilePool[(t.at + r * t.stride + c / 4) / 2] = bits; }

void tilePutFloat(uint i, float x) { tilePool[i / 4][i % 4] = floatBitsToUint(x); }
float tileGetFloat(uint i) { return uintBitsToFloat(tilePool[i / 4][i % 4]); }

vec4 tileGet(Tile t, uint r, uint c) {
    uint q = t.at + r * t.stride + c / 4;
    uvec4 octet = tilePool[q / 2];
    return unpack4(q % 2 == 0 ? octet.xy : octet.zw);
}
#else
shared vec4 tilePool[TILE_QUADS];

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
    if (TILE_ALIGNED && left >= 4) return U16x4Buf(uint64_t(p) + uint64_t(i) * 2ul).v;
    uvec2 bits = uvec2(0);
    for (int e = 0; e < min(left, 4); e++) bits[e >> 1] |= uint(p.v[i + e]) << (16 * (e & 1));
    return bits;
}
#endif

vec4 loadTail4T(TBuf p, uint i, int left) {
    if (TILE_ALIGNED && left >= 4) return load4T(p, i);
    vec4 x = vec4(0);
    for (int e = 0; e < min(left, 4); e++) x[e] = loadT(p, i + e);
    return x;
}

vec4 loadTail4F(F32Buf p, uint i, int left) {
    if (TILE_ALIGNED && left >= 4) return load4F(p, i);
    vec4 x = vec4(0);
    for (int e = 0; e < min(left, 4); e++) x[e] = p.v[i + e];
    return x;
}

void storeTail4T(TBuf p, uint i, int left, vec4 x) {
    if (TILE_ALIGNED && left >= 4) store4T(p, i, x);
    else for (int e = 0; e < min(left, 4); e++) storeT(p, i + e, x[e]);
}

void storeTail4F(F32Buf p, uint i, int left, vec4 x) {
    if (TILE_ALIGNED && left >= 4) store4F(p, i, x);
    else for (int e = 0; e < min(left, 4); e++) p.v[i + e] = x[e];
}

// Elements c..c+3, then c+4..c+7, so that the store is one of 16 bytes.
// (Loops that begin at the invocation's number have no constant trip count, and drivers do not unroll them.)
#define tileTrips(count) tileTrip(((count) + gl_WorkGroupSize.x - 1) / gl_WorkGroupSize.x)
#ifdef MM_coopmat
#define TILE_STAGE(tile, rows, cols, r, c, quad) \
    [[unroll]] for (uint tileT = 0; tileT < tileTrips((rows) * ((cols) / 8)); tileT++) { \
        uint tileI = tileT * gl_WorkGroupSize.x + gl_LocalInvocationIndex; \
        if ((rows) * ((cols) / 8) % gl_WorkGroupSize.x != 0 && tileI >= (rows) * ((cols) / 8)) break; \
        uint r = tileI / ((cols) / 8); uint c = tileI % ((cols) / 8) * 8; \
        uvec2 tileLow = tileBits(quad); c += 4; uvec2 tileHigh = tileBits(quad); \
        tilePutOctet(tile, r, c - 4, uvec4(tileLow, tileHigh)); \
    }
#else
#define TILE_STAGE(tile, rows, cols, r, c, quad) \
    [[unroll]] for (uint tileT = 0; tileT < tileTrips((rows) * ((cols) / 4)); tileT++) { \
        uint tileI = tileT * gl_WorkGroupSize.x + gl_LocalInvocationIndex; \
        if ((rows) * ((cols) / 4) % gl_WorkGroupSize.x != 0 && tileI >= (rows) * ((cols) / 4)) break; \
        uint r = tileI / ((cols) / 4); uint c = tileI % ((cols) / 4) * 4; \
        tilePut(tile, r, c, quad); \
    }
#endif

#ifdef MM_coopmat
#include "common/tile_coopmat.glsl"
#else
#include "common/tile_plain.glsl"
#endif
