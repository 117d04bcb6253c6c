// After tile.glsl: statements for i = 0 .. n - 1, unrolled by GPUs; CPU drivers would compile that for minutes.
#define EACH(i, n, statements) \
    if (TILE_CPU) { [[dont_unroll]] for (uint i = 0; i < tileTrip(n); i++) { statements } } \
    else [[unroll]] for (uint i = 0; i < n; i++) { statements }
