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

// Sum over m of left[i, m] right[m, j..j+3] for m in [low, high), multiples of 16.
vec4 productQuad(uint left, uint right, uint low, uint high) {
    vec4 sum = vec4(0);
    [[dont_unroll]] for (uint m0 = low; m0 < high; m0 += 16) {
        [[unroll]] for (uint m = m0, n = 0; n < tileTrip(4); m += 4, n++) {
            vec4 x = getFloats(left + m);
            [[unroll]] for (uint e = 0; e < 4; e++) sum += x[e] * getFloats(right + (m + e) * INVERSE_STRIDE);
        }
    }
    return sum;
}

// Diagonal blocks of 16 by forward substitution, a column an invocation; then M_21 = -M_22 (A_21 M_11), doubling the blocks, with the inner product where
// the block's upper right quarter is.
void invert(uint size) {
    uint lane = gl_LocalInvocationIndex, block = lane / 16 * 16 * (INVERSE_STRIDE + 1), column = lane % 16;
    float x[16];
    barrier();
    if (lane < 64) {
        [[unroll]] for (uint i = 0; i < tileTrip(16); i++) {
            float sum = i == column ? 1.0 : 0.0;
            [[unroll]] for (uint m = 0; m < 15; m++) if (m < i) sum -= tileGetFloat(block + i * INVERSE_STRIDE + m) * x[m];
            x[i] = sum;
        }
    }
    barrier();
    if (lane < 64) {
        [[unroll]] for (uint i = 0; i < 16; i++) tilePutFloat(block + i * INVERSE_STRIDE + column, x[i]);
    }
    barrier();
    [[dont_unroll]] for (uint width = 16; width < size; width *= 2) {
        uint quads = width / 4;
        [[dont_unroll]] for (uint e = lane; e < 32 * quads; e += gl_WorkGroupSize.x) {
            uint i = e / quads % width, j = e % quads * 4, upper = e / quads / width * 2 * width * (INVERSE_STRIDE + 1), lower = upper + width * INVERSE_STRIDE;
            putFloats(upper + i * INVERSE_STRIDE + width + j, productQuad(lower + i * INVERSE_STRIDE, upper + j, j & ~15, width));
        }
        barrier();
        [[dont_unroll]] for (uint e = lane; e < 32 * quads; e += gl_WorkGroupSize.x) {
            uint i = e / quads % width, j = e % quads * 4, upper = e / quads / width * 2 * width * (INVERSE_STRIDE + 1), lower = upper + width * INVERSE_STRIDE;
            putFloats(lower + i * INVERSE_STRIDE + j, -productQuad(lower + width + i * INVERSE_STRIDE, upper + width + j, 0, (i & ~15) + 16));
        }
        barrier();
    }
}
