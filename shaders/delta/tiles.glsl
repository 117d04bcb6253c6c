// Several accumulators, and accumulators element by element.
// Tiles of 64 channels (STATES of them) are spelled out: an array under a variable index lives in memory, and drivers do not unroll every loop.
#define EACH_TILE(t, statements) { \
    { const uint t = 0; statements } \
    if (STATES > 1) { const uint t = STATES > 1 ? 1 : 0; statements } \
    if (STATES > 2) { const uint t = STATES > 2 ? 2 : 0; statements } \
    if (STATES > 3) { const uint t = STATES > 3 ? 3 : 0; statements } \
    [[unroll]] for (uint t = 4; t < STATES; t++) { statements } }

// Visits all x = (r, c..c+3) of an accumulator. j is the same number for the same place of every accumulator, below QUADS_EACH, and j / 2 that of the octs of
// TILE_FETCH (cooperative matrices). Those take a detour in fp32 through the 64 rows of TILE_FLOATS vectors at quad `place` of the pool, which a barrier must
// have freed and which are free again after it.
#ifdef MM_coopmat
const uint QUADS_EACH = 2 * TILE_RUNS(64, TILE_N);
#define EACH_QUAD(acc, place, j, r, c, x, statements) { \
    accSpread(acc, (place) / 2) \
    barrier(); \
    TILE_EACH_RUN(64, TILE_N, tileO, r, tileC, \
        if (64 * (TILE_N / 8) % gl_WorkGroupSize.x == 0 || r < 64) { \
            [[unroll]] for (uint tileH = 0; tileH < 2; tileH++) { \
                const uint j = 2 * tileO + tileH; \
                uint c = tileC + 4 * tileH; \
                vec4 x = tileFloats((place) / 2, r, c); \
                statements \
            } \
        }) \
    barrier(); }
#else
const uint QUADS_EACH = PER_M * PER_N;
#define EACH_QUAD(acc, place, j, r, c, x, statements) ACC_EACH(acc, r, c, x, const uint j = tileF; statements)
#endif
