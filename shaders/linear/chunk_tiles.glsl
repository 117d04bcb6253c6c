// What the chunk kernels share: tiles of 64 tokens by 64 channels, whatever the chunk length C <= 64 (rows past a chunk's tokens are zero),
// and reductions in slices of SLICE: 32, so that two operand tiles and a 64 x 64 tile fit 32 KiB, or 64 where there is more.

#ifdef T_f32
vec4 widen(vec4 x) { return x; }
#else
vec4 widen(uvec2 bits) { return unpack4(bits); }
#endif

// Elements c..c+3 of row r of an array of rows of `width`, zero from row `rows` and column `width` on.
#define rowQuad(p, r, c, width, stride, rows) loadQuad(p, (r) * (stride) + (c), (r) < (rows) ? int(width) - int(c) : 0)
#define rowQuadF(p, r, c, width, stride, rows) loadTail4F(p, (r) * (stride) + (c), (r) < (rows) ? int(width) - int(c) : 0)

// The same of an array that holds something, to be used where nothing is read of rows and columns beyond it: no load waits for the one before.
vec4 nextQuadF(F32Buf p, uint r, uint c, uint width, uint stride, uint rows) {
    uint row = min(r, rows - 1);
    return TILE_WHOLE ? load4F(p, TILE_SOLID || c < width ? row * stride + c : 0) : rowQuadF(p, row, c, width, stride, rows);
}

#ifndef T_f32
uvec2 nextQuad(TBuf p, uint r, uint c, uint width, uint stride, uint rows) {
    uint row = min(r, rows - 1);
    return TILE_WHOLE ? U16x4Buf(uint64_t(p) + uint64_t(TILE_SOLID || c < width ? row * stride + c : 0) * 2ul).v : rowQuad(p, row, c, width, stride, rows);
}
#endif

// Reductions of few slices are unrolled by GPUs: what crosses the end of a loop is waited for there (chunk_state.comp).
uint sliceTrip(uint slices) { return TILE_CPU || slices > 4 ? slices + (gl_NumWorkGroups.x >> 31) : slices; }
#ifdef MM_coopmat
#define STRAIGHT [[unroll]]
#else
#define STRAIGHT [[dont_unroll]]
#endif
