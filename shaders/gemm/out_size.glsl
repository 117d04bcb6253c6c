// Room in the pool for what out.glsl passes through it; before tile.glsl.
#ifdef MM_coopmat
#define OUT_STRIDE (PER_N * FRAG_N / 4 + 1)                                 // of a row of a subgroup's fragments in fp32, in octs of the pool
#define OUT_QUADS (SUBGROUPS * FRAG_M * OUT_STRIDE * 2)
#endif
