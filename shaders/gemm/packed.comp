#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f16|bf16 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#include "common/dtype.glsl"
// gemm.comp for operands that pack.comp has brought into the order of fragments: they come from memory straight into the registers of the products, whole and
// unguarded, without shared memory, barriers or a word about transposition. Subgroups that need the same fragments find them in the cache.
// With FRAGMENTS C leaves as fragments too, as they stand in registers: rounded, it is packed for a next product whose left operand it is (on devices where
// accumulators lie like left operands); in fp32 it is a matrix of sums, to which D, the same kind of matrix, is added (sums.comp makes rows of it).
layout(push_constant, scalar) uniform Args {
    U32x4Buf a;             // packed
    U32x4Buf b;             // packed
    TBuf bias;              // null or [n]
    TBuf d;                 // null or like C, may be C
    TBuf c;                 // fp32 if OUT_F32
    uint m, n, k;
    uint ldc;
    uint blocksA, blocksB;  // blocks of 64 rows of a batch of A and B; of B 0 where all share one
    uint batch;
    uint splits;
    uint kPerSplit;         // a multiple of 48
    float alpha;
    float beta;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool OUT_F32 = false;
layout(constant_id = 9) const uint OUT_ALIGNED = 8;         // rows of C, D and bias begin at multiples of so many elements: 8, 4, or 1 for any
layout(constant_id = 10) const bool HAS_BIAS = true;
layout(constant_id = 11) const bool HAS_D = true;
layout(constant_id = 12) const bool IS_PARTIAL = false;     // splits > 1
layout(constant_id = 13) const bool FRAGMENTS = false;

#define TILE_ALIGNED (OUT_ALIGNED >= 4)
#include "gemm/out_size.glsl"
#define TILE_QUADS OUT_QUADS
#define TILE_BARE
#include "common/tile.glsl"
#include "gemm/packed.glsl"
#include "gemm/out.glsl"

// Where this lane's piece of the subgroup's first fragment lies; tiles reach over the last block, and read it twice.
uint firstPiece(uint row, uint high, uint rows, uint blocks, uint layer) {
    return (layer * blocks + min(row / 64, (rows - 1) / 64)) * packedBlock(args.k) + row % 64 / high * SUBGROUP + gl_SubgroupInvocationID;
}

#define FETCH(a, b, s) { \
    [[unroll]] for (uint tileI = 0; tileI < PER_M; tileI++) a[tileI] = atPacked(pa, ((s) * (64 / FRAG_M) + tileI) * SUBGROUP).v; \
    [[unroll]] for (uint tileI = 0; tileI < PER_N; tileI++) b[tileI] = atPacked(pb, ((s) * (64 / FRAG_N) + tileI) * SUBGROUP).v; \
    }
#define MULTIPLY(a, b) { \
    FragA tileFA[PER_M]; \
    [[unroll]] for (uint tileI = 0; tileI < PER_M; tileI++) { SET_A(tileFA[tileI], a[tileI]) } \
    [[unroll]] for (uint tileJ = 0; tileJ < PER_N; tileJ++) { \
        FragB tileFB; \
        SET_B(tileFB, b[tileJ]) \
        [[unroll]] for (uint tileI = 0; tileI < PER_M; tileI++) acc.f[tileI * PER_N + tileJ] = coopMatMulAdd(tileFA[tileI], tileFB, acc.f[tileI * PER_N + tileJ]); \
    } }

// A register that is loaded at both ends of a loop is loaded at its head instead by NVIDIA's compiler, that is, not ahead. With zero the first value is no load.
#define PIN(a, b) { \
    uint zero = args.splits >> 31; \
    [[unroll]] for (uint tileI = 0; tileI < PER_M; tileI++) a[tileI] |= uvec4(zero); \
    [[unroll]] for (uint tileI = 0; tileI < PER_N; tileI++) b[tileI] |= uvec4(zero); \
    }

// A subgroup's part of C and D lies in one block of 64 × 64; there are blocks as far as there are rows and columns.
uint sumsPiece(uint row, uint column) { return sumsBlock(row / 64, column / 64, args.n) + sumsFragment(row % 64 / FRAG_M, column % 64 / FRAG_N) + gl_SubgroupInvocationID; }
#define STORE_SUMS(acc, p) { \
    ACC_FRAGMENTS(tileF) { \
        uint tileAt = sumsFragment(tileF / PER_N, tileF % PER_N); \
        atPacked(p, tileAt).v = floatBitsToUint(vec4(acc.f[tileF][0], acc.f[tileF][1], acc.f[tileF][2], acc.f[tileF][3])); \
        atPacked(p, tileAt + SUBGROUP).v = floatBitsToUint(vec4(acc.f[tileF][4], acc.f[tileF][5], acc.f[tileF][6], acc.f[tileF][7])); \
    } }
#define STORE_OPERAND(acc, p, column) { \
    [[unroll]] for (uint tileJ = 0; tileJ < PER_N; tileJ++) { \
        if ((column) + tileJ * FRAG_N < packedDepth(args.n)) [[unroll]] for (uint tileI = 0; tileI < PER_M; tileI++) \
            atPacked(p, tileJ * STEP_A + tileI * SUBGROUP).v = WORDS_OF_A(acc.f[tileI * PER_N + tileJ]); \
    } }

void main() {
    uint layer, m0, n0;
    if (!tileOfGroup(layer, m0, n0)) return;
    uint kBegin = layer % args.splits * args.kPerSplit, kEnd = min(packedDepth(args.k), kBegin + args.kPerSplit);
    Acc acc;
    accZero(acc);
    uint row = m0 + accRow(0), column = n0 + accColumn(0);
    bool hasBlock = row / 64 * 64 < args.m && column / 64 * 64 < args.n;
    if (FRAGMENTS && HAS_D && accActive() && hasBlock) {
        U32x4Buf sums = atPacked(args.d, sumsPiece(row, column));
        LOAD_SUMS(acc, sums)
    }
    if (accActive()) {
        uint64_t pa = uint64_t(atPacked(args.a, firstPiece(row, FRAG_M, args.m, args.blocksA, layer / args.splits) + kBegin / FRAG_K * STEP_A));
        uint64_t pb = uint64_t(atPacked(args.b, firstPiece(column, FRAG_N, args.n, args.blocksB, layer / args.splits) + kBegin / FRAG_K * STEP_B));
        // Read two steps ahead, in three sets of registers; at the end two steps too many, for which the memory has room.
        uvec4 a[PER_M], b[PER_N], a1[PER_M], b1[PER_N], a2[PER_M], b2[PER_N];
        FETCH(a, b, 0)
        FETCH(a1, b1, 1)
        PIN(a, b)
        PIN(a1, b1)
        [[dont_unroll]] for (uint k = kBegin; k < kEnd; k += 3 * FRAG_K) {
            FETCH(a2, b2, 2)
            MULTIPLY(a, b)
            FETCH(a, b, 3)
            MULTIPLY(a1, b1)
            FETCH(a1, b1, 4)
            MULTIPLY(a2, b2)
            pa += 3 * STEP_A * 16;
            pb += 3 * STEP_B * 16;
        }
    }
    if (!FRAGMENTS) {
        uint64_t base = uint64_t(layer) * args.m * args.ldc;
        OUT(acc, base, m0, n0)
    } else if (accActive() && hasBlock) {
        if (OUT_F32) {
            U32x4Buf sums = atPacked(args.c, sumsPiece(row, column));
            STORE_SUMS(acc, sums)
        } else {
            U32x4Buf operand = atPacked(args.c, row / 64 * packedBlock(args.n) + column / FRAG_N * STEP_A + row % 64 / FRAG_M * SUBGROUP + gl_SubgroupInvocationID);
            STORE_OPERAND(acc, operand, column)
        }
    }
}
