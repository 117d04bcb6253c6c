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
    if (size > 16) DOUBLE_BLOCKS(16, 16)
    if (size > 32) DOUBLE_BLOCKS(32, 16)
}
