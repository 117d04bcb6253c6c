// TRI: (I + A)^-1 of a strictly lower triangular A, 64 x 64 in fp32, in place in the tile pool from 0 on. What comes to stand above the diagonal
// blocks of 16 is of no meaning.
const uint INVERSE_STRIDE = 68;                            // of a plain tile of 64 columns
#ifdef MM_coopmat
void putFloats(uint i, vec4 x) { tilePool[i / 4] = floatBitsToUint(x); }
vec4 getFloats(uint i) { return uintBitsToFloat(tilePool[i / 4]); }
#else
void putFloats(uint i, vec4 x) { tilePool[i / 4] = x; }
vec4 getFloats(uint i) { return tilePool[i / 4]; }
#endif

// Rows of four columns that an invocation makes at a time: a CPU driver's loads cost more than its sums.
const uint INVERSE_ROWS = TILE_CPU ? 4 : 1;
struct Quads { vec4 row[INVERSE_ROWS]; };

// sum.row[r] += over m in [low, low + count) of left[r, m] right[m, 0..3]; count a multiple of 4.
void addProducts(inout Quads sum, uint left, uint right, uint low, uint count) {
    [[unroll]] for (uint m = low, n = 0; n < tileTrip(count / 4); m += 4, n++) {
        vec4 x[INVERSE_ROWS];
        vec4 y[4];
        [[unroll]] for (uint r = 0; r < INVERSE_ROWS; r++) x[r] = getFloats(left + r * INVERSE_STRIDE + m);
        [[unroll]] for (uint e = 0; e < 4; e++) y[e] = getFloats(right + (m + e) * INVERSE_STRIDE);
        [[unroll]] for (uint r = 0; r < INVERSE_ROWS; r++) {
            [[unroll]] for (uint e = 0; e < 4; e++) sum.row[r] += x[r][e] * y[e];
        }
    }
}

// Blocks of `width` on the diagonal become blocks of twice that: M_21 = -M_22 (A_21 M_11), with the inner product where the block's upper right quarter is; for
// blocks of 8 in that of the 32 around them, as blocks of 16 are read whole. `edge` = min(width, 16): products leave out what is zero in steps of it.
#define DOUBLE_BLOCKS(width, edge) { \
    const uint quads = (width) / 4, groups = (width) / INVERSE_ROWS; \
    [[dont_unroll]] for (uint later = 0; later < 2; later++) { \
        [[dont_unroll]] for (uint e = lane; e < 32 * quads / INVERSE_ROWS; e += gl_WorkGroupSize.x) { \
            uint i = e / quads % groups * INVERSE_ROWS, j = e % quads * 4, upper = e / quads / groups * 2 * (width) * (INVERSE_STRIDE + 1), lower = upper + (width) * INVERSE_STRIDE; \
            uint spare = (width) == 8 ? e / quads / groups / 2 * 32 * (INVERSE_STRIDE + 1) + 16 + e / quads / groups % 2 * 8 : upper + (width); \
            uint left = lower + i * INVERSE_STRIDE + later * (width), right = (later == 0 ? upper : spare) + j; \
            uint low = later == 0 ? j & ~((edge) - 1) : 0, high = later == 0 ? (width) : (i & ~((edge) - 1)) + (edge); \
            Quads sum; \
            [[unroll]] for (uint r = 0; r < INVERSE_ROWS; r++) sum.row[r] = vec4(0); \
            [[dont_unroll]] for (uint m = low; m < high; m += (edge)) addProducts(sum, left, right, m, edge); \
            uint to = later == 0 ? spare + i * INVERSE_STRIDE + j : lower + i * INVERSE_STRIDE + j; \
            [[unroll]] for (uint r = 0; r < INVERSE_ROWS; r++) putFloats(to + r * INVERSE_STRIDE, later == 0 ? sum.row[r] : -sum.row[r]); \
        } \
        barrier(); \
    } }

vec4 unitLower(uint r, uint c, vec4 x) {
    return vec4(equal(uvec4(c, c + 1, c + 2, c + 3), uvec4(r))) + mix(vec4(0), x, lessThan(uvec4(c, c + 1, c + 2, c + 3), uvec4(r)));
}

#ifdef MM_coopmat
// From blocks of 16 on the products are those of cooperative matrices: 16 floats of a row become, where they lie, 16 numbers of the storage type and 16 of what
// rounding left of them, and a product is three (what two remainders give is below the last bit of fp32's half).
uint splitAt(uint r, uint c) { return r * (INVERSE_STRIDE / 4) + c / 16 * 4 + c % 16 / 8; }
const uint REMAINDER = 2;

void split() {
    vec4 x[1024 / gl_WorkGroupSize.x];
    TILE_DEAL(i, 1024) x[tileJ / gl_WorkGroupSize.x] = unitLower(i / 16, i % 16 * 4, getFloats(i / 16 * INVERSE_STRIDE + i % 16 * 4));
    barrier();
    TILE_DEAL(i, 1024) {
        uvec2 rounded = tilePack(x[tileJ / gl_WorkGroupSize.x]);
        uint at = 2 * splitAt(i / 16, i % 16 * 4) + i % 2;
        tilePutAt(at, rounded);
        tilePutAt(at + 2 * REMAINDER, tilePack(x[tileJ / gl_WorkGroupSize.x] - unpack4(rounded)));
    }
    barrier();
}

// acc += the fragments from row r0 of the left block, at (leftR, leftC), times those to column c0 of the right one, in steps from k `low` to before `high`.
#define SPLIT_PRODUCT(acc, r0, leftC, rightR, c0, low, high) \
    [[dont_unroll]] for (uint k = low; k < high; k += FRAG_K) { \
        FragA left, leftRest; \
        FragB right, rightRest; \
        coopMatLoad(left, tilePool, splitAt(r0, (leftC) + k), INVERSE_STRIDE / 4, gl_CooperativeMatrixLayoutRowMajor); \
        coopMatLoad(leftRest, tilePool, splitAt(r0, (leftC) + k) + REMAINDER, INVERSE_STRIDE / 4, gl_CooperativeMatrixLayoutRowMajor); \
        coopMatLoad(right, tilePool, splitAt((rightR) + k, c0), INVERSE_STRIDE / 4, gl_CooperativeMatrixLayoutRowMajor); \
        coopMatLoad(rightRest, tilePool, splitAt((rightR) + k, c0) + REMAINDER, INVERSE_STRIDE / 4, gl_CooperativeMatrixLayoutRowMajor); \
        acc = coopMatMulAdd(left, rightRest, acc); \
        acc = coopMatMulAdd(leftRest, right, acc); \
        acc = coopMatMulAdd(left, right, acc); \
    }
#define SPLIT_STORE(acc, factor, r, c) { \
    FragHalf rounded, rest; \
    [[unroll]] for (uint e = 0; e < rounded.length(); e++) { \
        float x = factor * acc[e]; \
        rounded[e] = TILE_HALF(x); \
        rest[e] = TILE_HALF(x - TILE_FULL(rounded[e])); \
    } \
    coopMatStore(rounded, tilePool, splitAt(r, c), INVERSE_STRIDE / 4, gl_CooperativeMatrixLayoutRowMajor); \
    coopMatStore(rest, tilePool, splitAt(r, c) + REMAINDER, INVERSE_STRIDE / 4, gl_CooperativeMatrixLayoutRowMajor); }

// The same doubling: A_21 M_11 to the block's upper right quarter, then M_21. What is zero in M_11 and M_22, blocks of 16 above the diagonal, is left out.
#define JOIN(width) { \
    const uint rows = (width) / FRAG_M, columns = (width) / FRAG_N, each = rows * columns; \
    [[dont_unroll]] for (uint f = gl_SubgroupID; f < 32 / (width) * each; f += SUBGROUPS) { \
        uint corner = f / each * 2 * (width), r = f % each / columns * FRAG_M, c = f % columns * FRAG_N; \
        FragC acc = FragC(0.0); \
        SPLIT_PRODUCT(acc, corner + (width) + r, corner, corner, corner + c, c / 16 * 16, width) \
        SPLIT_STORE(acc, 1.0, corner + r, corner + (width) + c) \
    } \
    barrier(); \
    [[dont_unroll]] for (uint f = gl_SubgroupID; f < 32 / (width) * each; f += SUBGROUPS) { \
        uint corner = f / each * 2 * (width), r = f % each / columns * FRAG_M, c = f % columns * FRAG_N; \
        FragC acc = FragC(0.0); \
        SPLIT_PRODUCT(acc, corner + (width) + r, corner + (width), corner, corner + (width) + c, 0, r / 16 * 16 + 16) \
        SPLIT_STORE(acc, -1.0, corner + (width) + r, corner + c) \
    } \
    barrier(); }
#define JOIN_BLOCKS(size) { \
    split(); \
    if (size > 16) JOIN(16) \
    if (size > 32) JOIN(32) }
#else
#define JOIN_BLOCKS(size) { \
    if (size > 16) DOUBLE_BLOCKS(16, 16) \
    if (size > 32) DOUBLE_BLOCKS(32, 16) }
#endif

// Diagonal blocks of 8 by forward substitution, a column an invocation; then of 16, 32 and 64.
void invert(uint size) {
    uint lane = gl_LocalInvocationIndex, block = lane / 8 * 8 * (INVERSE_STRIDE + 1), column = lane % 8;
    float x[8];
    barrier();
    if (lane < 64) {
        [[unroll]] for (uint i = 0; i < 8; i++) {
            vec4 low = getFloats(block + i * INVERSE_STRIDE), high = getFloats(block + i * INVERSE_STRIDE + 4);
            float sum = i == column ? 1.0 : 0.0;
            [[unroll]] for (uint m = 0; m < 7; m++) if (m < i) sum -= (m < 4 ? low[m % 4] : high[m % 4]) * x[m];
            x[i] = sum;
        }
    }
    barrier();
    if (lane < 64) {
        [[unroll]] for (uint i = 0; i < 8; i++) tilePutFloat(block + i * INVERSE_STRIDE + column, x[i]);
    }
    barrier();
    DOUBLE_BLOCKS(8, 8)
    JOIN_BLOCKS(size)
}

// M to memory, and to a tile.
#ifdef MM_coopmat
#define PUT_INVERSE { \
    uvec4 octs[TILE_RUNS(64, 64)]; \
    TILE_EACH_RUN(64, 64, i, r, c, octs[i] = c / 16 <= r / 16 ? tilePool[splitAt(r, c)] : uvec4(0);) \
    barrier(); \
    TILE_LAND_RUNS(M, 64, 64, r, c, octs[tileJ]) \
    TILE_EACH_RUN(64, 64, i, r, c, storeOct(rowsM, r * H * C + c, WHOLE ? 8 : r < count ? int(C) - int(c) : 0, octs[i].xy, octs[i].zw);) }
#else
#define PUT_INVERSE { \
    Acc inverse; \
    ACC_SET(inverse, r, c, unitLower(r, c, getFloats(r * INVERSE_STRIDE + c))) \
    barrier(); \
    accLay(inverse, M) \
    barrier(); \
    TILE_SAVE(M, 64, 64, rowsM, r, c, r * H * C + c, r < count ? int(C) - int(c) : 0) }
#endif
