// Where a tile of C goes, for kernels over the arguments of gemm.comp: OUT(acc, base, m0, n0) stores alpha·acc + bias + beta·D, guarded.
const uint STRIP = 16;      // tile rows that run together, for the cache's sake

// The batch (or piece of the reduction) and tile of this workgroup; false beyond the last.
bool tileOfGroup(out uint layer, out uint m0, out uint n0) {
    uint tilesM = (args.m + TILE_M - 1) / TILE_M, tilesN = (args.n + TILE_N - 1) / TILE_N;
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint tile_ = group % (tilesM * tilesN);
    layer = group / (tilesM * tilesN);
    uint strip = tile_ / (STRIP * tilesN), inStrip = tile_ % (STRIP * tilesN);
    uint height = min(STRIP, tilesM - strip * STRIP);
    m0 = (strip * STRIP + inStrip % height) * TILE_M;
    n0 = inStrip / height * TILE_N;
    return layer < args.batch * args.splits;
}

int columnsLeft(uint at, uint end) { return at < end ? int(end - at) : 0; }

// Beta·D, four columns of a row; zeros without D.
vec4 addend(uint64_t row, uint c, int left) {
    if (!HAS_D || left <= 0) return vec4(0);
    if (OUT_F32) return args.beta * loadTail4F(atF(F32Buf(uint64_t(args.d)), row), c, left);
    return args.beta * loadTail4T(atT(args.d, row), c, left);
}

vec4 finished(vec4 x, uint c, int left, vec4 add) {
    if (IS_PARTIAL) return x;
    x *= args.alpha;
    if (HAS_BIAS) x += loadTail4T(args.bias, c, left);
    return x + add;
}

void store(uint64_t row, uint c, int left, vec4 x) {
    if (OUT_F32 || IS_PARTIAL) storeTail4F(atF(F32Buf(uint64_t(args.c)), row), c, left, x);
    else storeTail4T(atT(args.c, row), c, left, x);
}

#ifdef MM_coopmat
// A row of a subgroup's fragments at a time through the pool, so that lanes write whole rows. What D holds is read first, all loads at once; without D the
// visit is a loop: code that runs once for each tile has to be short, as it comes from memory.
#define OUT_RUNS ((FRAG_M * PER_N * FRAG_N / 8 + SUBGROUP - 1) / SUBGROUP)
#define OUT_RUN(i, z, statements) { \
    uint outE = gl_SubgroupInvocationID + z * SUBGROUP, outR = outE / (PER_N * FRAG_N / 8), outC = outE % (PER_N * FRAG_N / 8) * 8; \
    uint r = m0 + accRow(i) + outR, c = n0 + accColumn(0) + outC; \
    int left = r < args.m && outR < FRAG_M ? columnsLeft(c, args.n) : 0; \
    uint64_t row = base + uint64_t(r) * args.ldc; \
    statements }
#define OUT_STORE(add, add2) if (left > 0) { \
    uint at = gl_SubgroupID * FRAG_M * OUT_STRIDE + outR * OUT_STRIDE + outC / 4; \
    vec4 x = finished(uintBitsToFloat(tilePool[at]), c, left, add), y = finished(uintBitsToFloat(tilePool[at + 1]), c + 4, left - 4, add2); \
    if (OUT_ALIGNED >= 8 && !OUT_F32 && !IS_PARTIAL) U32x4Buf(uint64_t(atT(args.c, row + c))).v = uvec4(tilePack(x), tilePack(y)); \
    else { store(row, c, left, x); store(row, c + 4, left - 4, y); } }
// What is just rounded goes through the pool as patterns of 16 bits.
#define OUT_HALVES (!OUT_F32 && !IS_PARTIAL && !HAS_D && !HAS_BIAS && OUT_ALIGNED >= 8)
#define HALF_STRIDE (PER_N * FRAG_N / 8 + 1)                                // of a row of a subgroup's fragments, in octs
#define OUT_ROW_HALVES(acc, i) { \
    uint place = gl_SubgroupID * FRAG_M * HALF_STRIDE; \
    [[unroll]] for (uint tileJ = 0; tileJ < PER_N; tileJ++) { \
        FragHalf tileH; \
        [[unroll]] for (uint tileE = 0; tileE < tileH.length(); tileE++) tileH[tileE] = TILE_HALF(args.alpha * acc.f[i * PER_N + tileJ][tileE]); \
        coopMatStore(tileH, tilePool, place + tileJ * (FRAG_N / 8), HALF_STRIDE, gl_CooperativeMatrixLayoutRowMajor); \
    } \
    tileSync(); \
    uvec4 octs[OUT_RUNS]; \
    [[unroll]] for (uint z = 0; z < OUT_RUNS; z++) { \
        uint outE = min(gl_SubgroupInvocationID + z * SUBGROUP, FRAG_M * PER_N * FRAG_N / 8 - 1); \
        octs[z] = tilePool[place + outE / (PER_N * FRAG_N / 8) * HALF_STRIDE + outE % (PER_N * FRAG_N / 8)]; \
    } \
    tileSync(); \
    [[unroll]] for (uint z = 0; z < OUT_RUNS; z++) OUT_RUN(i, z, if (left > 0) U32x4Buf(uint64_t(atT(args.c, row + c))).v = octs[z];) }
#define OUT(acc, base, m0, n0) if (accActive()) { \
    if (OUT_HALVES) { [[unroll]] for (uint tileI = 0; tileI < PER_M; tileI++) OUT_ROW_HALVES(acc, tileI) } \
    else [[unroll]] for (uint tileI = 0; tileI < PER_M; tileI++) { \
        vec4 low[OUT_RUNS], high[OUT_RUNS]; \
        if (HAS_D) { [[unroll]] for (uint z = 0; z < OUT_RUNS; z++) OUT_RUN(tileI, z, low[z] = addend(row, c, left); high[z] = addend(row, c + 4, left - 4);) } \
        [[unroll]] for (uint tileJ = 0; tileJ < PER_N; tileJ++) \
            coopMatStore(acc.f[tileI * PER_N + tileJ], tilePool, gl_SubgroupID * FRAG_M * OUT_STRIDE + tileJ * (FRAG_N / 4), OUT_STRIDE, gl_CooperativeMatrixLayoutRowMajor); \
        tileSync(); \
        if (HAS_D) { [[unroll]] for (uint z = 0; z < OUT_RUNS; z++) OUT_RUN(tileI, z, OUT_STORE(low[z], high[z])) } \
        else { [[dont_unroll]] for (uint z = 0; z < OUT_RUNS; z++) OUT_RUN(tileI, z, OUT_STORE(vec4(0), vec4(0))) } \
        tileSync(); \
    } }
#else
#define OUT(acc, base, m0, n0) ACC_EACH(acc, r, c, x, { \
    int left = m0 + r < args.m ? columnsLeft(n0 + c, args.n) : 0; \
    uint64_t row = base + uint64_t(m0 + r) * args.ldc; \
    if (left > 0) store(row, n0 + c, left, finished(x, n0 + c, left, addend(row, n0 + c, left))); \
    })
#endif
