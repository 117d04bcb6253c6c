// The cooperative-matrix body of tile.glsl. Elements of an accumulator are reached through a scratch fragment per subgroup.
#ifdef T_bf16
#define TileFloat bfloat16_t
#define TILE_OPERAND(x) uintBitsToBFloat16EXT(uint16_t(bf16Near(x) >> 16))
#else
#define TileFloat float16_t
#define TILE_OPERAND(x) float16_t(x)
#endif

const uint FRAG_STRIDE = FRAG_N / 4 + 1;

#define FragA coopmat<TileFloat, gl_ScopeSubgroup, FRAG_M, FRAG_K, gl_MatrixUseA>
#define FragB coopmat<TileFloat, gl_ScopeSubgroup, FRAG_K, FRAG_N, gl_MatrixUseB>
#define FragC coopmat<float, gl_ScopeSubgroup, FRAG_M, FRAG_N, gl_MatrixUseAccumulator>

struct Acc { FragC f[PER_M * PER_N]; };

// The scratch has memory of its own, or with TILE_SCRATCH a part of the pool from that oct on, which must then be free where ACC_* but accLay are used.
#ifdef TILE_SCRATCH
vec4 scratchGet(uint i) { return uintBitsToFloat(tilePool[TILE_SCRATCH + i]); }
void scratchPut(uint i, vec4 x) { tilePool[TILE_SCRATCH + i] = floatBitsToUint(x); }
#define scratchStore(f, at) coopMatStore(f, tilePool, TILE_SCRATCH + (at), FRAG_STRIDE, gl_CooperativeMatrixLayoutRowMajor)
#define scratchLoad(f, at) coopMatLoad(f, tilePool, TILE_SCRATCH + (at), FRAG_STRIDE, gl_CooperativeMatrixLayoutRowMajor)
#elif !defined(TILE_BARE)
shared vec4 tileScratch[TILE_SCRATCH_OCTS];
vec4 scratchGet(uint i) { return tileScratch[i]; }
void scratchPut(uint i, vec4 x) { tileScratch[i] = x; }
#define scratchStore(f, at) coopMatStore(f, tileScratch, at, FRAG_STRIDE, gl_CooperativeMatrixLayoutRowMajor)
#define scratchLoad(f, at) coopMatLoad(f, tileScratch, at, FRAG_STRIDE, gl_CooperativeMatrixLayoutRowMajor)
#endif

uint accRow(uint i) { return (gl_SubgroupID / SG_N * PER_M + i) * FRAG_M; }
uint accColumn(uint j) { return (gl_SubgroupID % SG_N * PER_N + j) * FRAG_N; }
bool accActive() { return SG_M * SG_N == SUBGROUPS || gl_SubgroupID < SG_M * SG_N; }

// subgroupBarrier() would order buffer memory too.
void tileSync() { controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease); }

// A fragment's eight components of a lane as they are stored, and a right operand of such: where components lie alike (HasMatrixChain), accumulators of a
// transposed matrix are right operands.
#define FRAGMENT_WORDS(f) uvec4(tilePack(vec4(f[0], f[1], f[2], f[3])), tilePack(vec4(f[4], f[5], f[6], f[7])))
#ifdef T_bf16
#define TILE_HALF_OF(word, e) uintBitsToBFloat16EXT(uint16_t((word) >> (e) * 16))
#else
#define TILE_HALF_OF(word, e) unpackFloat2x16(word)[e]
#endif
#define FRAGMENT_OF(f, words) [[unroll]] for (uint tileE = 0; tileE < 8; tileE++) f[tileE] = TILE_HALF_OF(words[tileE >> 1], tileE & 1);

// Macros, not functions: a fragment in an array that is handed to a function was seen to end up in memory.
#define ACC_FRAGMENTS(i) [[unroll]] for (uint i = 0; i < PER_M * PER_N; i++)
#define accZero(acc) { ACC_FRAGMENTS(tileF) acc.f[tileF] = FragC(0.0); }
#define accScale(acc, s) { float tileScale = s; ACC_FRAGMENTS(tileF) acc.f[tileF] = acc.f[tileF] * tileScale; }
#define accAdd(acc, other) { ACC_FRAGMENTS(tileF) acc.f[tileF] = acc.f[tileF] + other.f[tileF]; }

// A matrix whose columns are all equal is the vector loaded with stride 0.
#define accScaleRows(acc, at) if (accActive()) { \
    [[unroll]] for (uint tileI = 0; tileI < PER_M; tileI++) { \
        FragC tileRows; \
        coopMatLoad(tileRows, tileVector, (at) + accRow(tileI), 0, gl_CooperativeMatrixLayoutColumnMajor); \
        [[unroll]] for (uint tileJ = 0; tileJ < PER_N; tileJ++) acc.f[tileI * PER_N + tileJ] = acc.f[tileI * PER_N + tileJ] * tileRows; \
    } }

#define accScaleColumns(acc, at) if (accActive()) { \
    [[unroll]] for (uint tileJ = 0; tileJ < PER_N; tileJ++) { \
        FragC tileColumns; \
        coopMatLoad(tileColumns, tileVector, (at) + accColumn(tileJ), 0, gl_CooperativeMatrixLayoutRowMajor); \
        [[unroll]] for (uint tileI = 0; tileI < PER_M; tileI++) acc.f[tileI * PER_N + tileJ] = acc.f[tileI * PER_N + tileJ] * tileColumns; \
    } }

#define mma(acc, a, b, k) if (accActive()) { \
    const Tile tileA = a, tileB = b; \
    [[unroll]] for (uint tileL = 0; tileL < tileTrip(k); tileL += FRAG_K) { \
        FragA tileFA[PER_M]; \
        [[unroll]] for (uint tileI = 0; tileI < PER_M; tileI++) { \
            if (tileA.transposed) coopMatLoad(tileFA[tileI], tilePool, (tileA.at + tileL * tileA.stride + accRow(tileI) / 4) >> 1, tileA.stride >> 1, gl_CooperativeMatrixLayoutColumnMajor); \
            else coopMatLoad(tileFA[tileI], tilePool, (tileA.at + accRow(tileI) * tileA.stride + tileL / 4) >> 1, tileA.stride >> 1, gl_CooperativeMatrixLayoutRowMajor); \
        } \
        [[unroll]] for (uint tileJ = 0; tileJ < PER_N; tileJ++) { \
            FragB tileFB; \
            if (tileB.transposed) coopMatLoad(tileFB, tilePool, (tileB.at + accColumn(tileJ) * tileB.stride + tileL / 4) >> 1, tileB.stride >> 1, gl_CooperativeMatrixLayoutColumnMajor); \
            else coopMatLoad(tileFB, tilePool, (tileB.at + tileL * tileB.stride + accColumn(tileJ) / 4) >> 1, tileB.stride >> 1, gl_CooperativeMatrixLayoutRowMajor); \
            [[unroll]] for (uint tileI = 0; tileI < PER_M; tileI++) acc.f[tileI * PER_N + tileJ] = coopMatMulAdd(tileFA[tileI], tileFB, acc.f[tileI * PER_N + tileJ]); \
        } \
    } }

// count accumulators += a times tiles b(0), b(1) ..: fragments of a are loaded once.
#define mmaEach(accs, count, a, t, b, k) if (accActive()) { \
    const Tile tileA = a; \
    [[unroll]] for (uint tileL = 0; tileL < tileTrip(k); tileL += FRAG_K) { \
        FragA tileFA[PER_M]; \
        [[unroll]] for (uint tileI = 0; tileI < PER_M; tileI++) { \
            if (tileA.transposed) coopMatLoad(tileFA[tileI], tilePool, (tileA.at + tileL * tileA.stride + accRow(tileI) / 4) >> 1, tileA.stride >> 1, gl_CooperativeMatrixLayoutColumnMajor); \
            else coopMatLoad(tileFA[tileI], tilePool, (tileA.at + accRow(tileI) * tileA.stride + tileL / 4) >> 1, tileA.stride >> 1, gl_CooperativeMatrixLayoutRowMajor); \
        } \
        [[unroll]] for (uint t = 0; t < count; t++) { \
            const Tile tileB = b; \
            [[unroll]] for (uint tileJ = 0; tileJ < PER_N; tileJ++) { \
                FragB tileFB; \
                if (tileB.transposed) coopMatLoad(tileFB, tilePool, (tileB.at + accColumn(tileJ) * tileB.stride + tileL / 4) >> 1, tileB.stride >> 1, gl_CooperativeMatrixLayoutColumnMajor); \
                else coopMatLoad(tileFB, tilePool, (tileB.at + tileL * tileB.stride + accColumn(tileJ) / 4) >> 1, tileB.stride >> 1, gl_CooperativeMatrixLayoutRowMajor); \
                [[unroll]] for (uint tileI = 0; tileI < PER_M; tileI++) accs[t].f[tileI * PER_N + tileJ] = coopMatMulAdd(tileFA[tileI], tileFB, accs[t].f[tileI * PER_N + tileJ]); \
            } \
        } \
    } }

#ifdef TILE_OWN_ROWS
struct Rows { FragA f[64 / FRAG_K * PER_M]; };

#define rowsLoad(rows, tile, k) if (!TILE_CPU) { \
    const Tile tileA = tile; \
    [[unroll]] for (uint tileF = 0; tileF < (k) / FRAG_K * PER_M; tileF++) { \
        uint tileK = tileF / PER_M * FRAG_K, tileRow = accRow(tileF % PER_M); \
        if (tileA.transposed) coopMatLoad(rows.f[tileF], tilePool, (tileA.at + tileK * tileA.stride + tileRow / 4) >> 1, tileA.stride >> 1, gl_CooperativeMatrixLayoutColumnMajor); \
        else coopMatLoad(rows.f[tileF], tilePool, (tileA.at + tileRow * tileA.stride + tileK / 4) >> 1, tileA.stride >> 1, gl_CooperativeMatrixLayoutRowMajor); \
    } }

#define accAsRows(rows, acc, tile) { \
    if (CHAIN && SG_N == 1) { \
        ACC_FRAGMENTS(tileF) { \
            [[unroll]] for (uint tileE = 0; tileE < acc.f[0].length(); tileE++) rows.f[tileF % PER_N * PER_M + tileF / PER_N][tileE] = TILE_OPERAND(acc.f[tileF][tileE]); \
        } \
    } else { \
        accLay(acc, tile) \
        barrier(); \
        rowsLoad(rows, tile, 64) \
        barrier(); \
    } }

#define mmaRows(acc, rows, a, b, k) { \
    const Tile tileA_ = a, tileB_ = b; \
    if (TILE_CPU) { \
        mma(acc, tileA_, tileB_, k) \
    } else [[unroll]] for (uint tileK = 0; tileK < (k) / FRAG_K; tileK++) { \
        [[unroll]] for (uint tileJ = 0; tileJ < PER_N; tileJ++) { \
            FragB tileFB; \
            if (tileB_.transposed) coopMatLoad(tileFB, tilePool, (tileB_.at + accColumn(tileJ) * tileB_.stride + tileK * FRAG_K / 4) >> 1, tileB_.stride >> 1, gl_CooperativeMatrixLayoutColumnMajor); \
            else coopMatLoad(tileFB, tilePool, (tileB_.at + tileK * FRAG_K * tileB_.stride + accColumn(tileJ) / 4) >> 1, tileB_.stride >> 1, gl_CooperativeMatrixLayoutRowMajor); \
            [[unroll]] for (uint tileI = 0; tileI < PER_M; tileI++) acc.f[tileI * PER_N + tileJ] = coopMatMulAdd(rows.f[tileK * PER_M + tileI], tileFB, acc.f[tileI * PER_N + tileJ]); \
        } \
    } }

#define ACC_COMPONENTS(acc, rows, columns, x, u, v, beyond, expr) { \
    FragC tileRows, tileColumns; \
    coopMatLoad(tileRows, tileVector, TILE_NUMBERS, 0, gl_CooperativeMatrixLayoutColumnMajor); \
    coopMatLoad(tileColumns, tileVector, TILE_NUMBERS, 0, gl_CooperativeMatrixLayoutRowMajor); \
    FragC tileBeyond = tileColumns - tileRows; \
    [[unroll]] for (uint tileI = 0; tileI < PER_M; tileI++) { \
        coopMatLoad(tileRows, tileVector, (rows) + accRow(tileI), 0, gl_CooperativeMatrixLayoutColumnMajor); \
        [[unroll]] for (uint tileJ = 0; tileJ < PER_N; tileJ++) { \
            coopMatLoad(tileColumns, tileVector, (columns) + accColumn(tileJ), 0, gl_CooperativeMatrixLayoutRowMajor); \
            float tileApart = float(int(accColumn(tileJ)) - int(accRow(tileI))); \
            [[unroll]] for (uint tileE = 0; tileE < acc.f[0].length(); tileE++) { \
                float x = acc.f[tileI * PER_N + tileJ][tileE], u = tileRows[tileE], v = tileColumns[tileE], beyond = tileBeyond[tileE] + tileApart; \
                acc.f[tileI * PER_N + tileJ][tileE] = expr; \
            } \
        } \
    } }
#endif

#define accToScratch(f) { \
    scratchStore(f, gl_SubgroupID * FRAG_M * FRAG_STRIDE); \
    tileSync(); }

#define accFromScratch(f) { \
    tileSync(); \
    scratchLoad(f, gl_SubgroupID * FRAG_M * FRAG_STRIDE); \
    tileSync(); }

// One pass over the runs of 4 or 8 columns of fragment tileF: r, c in the tile, tileS the run's place in the scratch.
#define ACC_RUNS(width, r, c, statements) \
    [[unroll]] for (uint tileK = 0, tileE = gl_SubgroupInvocationID; tileK < tileTrip(FRAG_M * (FRAG_N / width)); tileK += SUBGROUP, tileE += SUBGROUP) \
        if (FRAG_M * (FRAG_N / width) % SUBGROUP == 0 || tileE < FRAG_M * (FRAG_N / width)) { \
            uint r = accRow(tileF / PER_N) + tileE / (FRAG_N / width), c = accColumn(tileF % PER_N) + tileE % (FRAG_N / width) * width; \
            uint tileS = (gl_SubgroupID * FRAG_M + tileE / (FRAG_N / width)) * FRAG_STRIDE + tileE % (FRAG_N / width) * (width / 4); \
            statements \
        }

// Runs of 4 columns that a lane has, over all fragments; inside ACC_EACH and ACC_PLACES accRun is the number of the one at hand.
const uint RUNS_EACH = (FRAG_M * FRAG_N / 4 + SUBGROUP - 1) / SUBGROUP;
#define ACC_RUN_COUNT (PER_M * PER_N * RUNS_EACH)
#define accRun (tileF * RUNS_EACH + tileK / SUBGROUP)
// The places that ACC_EACH will visit, without their values: to read early what belongs there.
#define ACC_PLACES(r, c, statements) if (accActive()) { ACC_FRAGMENTS(tileF) ACC_RUNS(4, r, c, statements) }

// Fragments visited in a loop are picked by comparing their number: an array of matrices under a variable index would live in memory, not in
// registers, for the whole of the kernel.
#ifdef TILE_ROLLED
FragC accFragment(Acc acc, uint at) {
    FragC f;
    ACC_FRAGMENTS(i) if (i == at) f = acc.f[i];
    return f;
}

void accReplace(inout Acc acc, uint at, FragC f) {
    ACC_FRAGMENTS(i) if (i == at) acc.f[i] = f;
}
#define ACC_VISIT(i) [[dont_unroll]] for (uint i = 0; i < PER_M * PER_N; i++)
#else
#define accFragment(acc, at) acc.f[at]
#define accReplace(acc, at, fragment) acc.f[at] = fragment
#define ACC_VISIT(i) ACC_FRAGMENTS(i)
#endif

#define ACC_EACH(acc, r, c, x, statements) if (accActive()) { \
    ACC_VISIT(tileF) { \
        accToScratch(accFragment(acc, tileF)); \
        ACC_RUNS(4, r, c, vec4 x = scratchGet(tileS); statements) \
        tileSync(); \
    } }

#define ACC_SET(acc, r, c, expr) if (accActive()) { \
    ACC_VISIT(tileF) { \
        ACC_RUNS(4, r, c, scratchPut(tileS, expr);) \
        FragC tileFC; \
        accFromScratch(tileFC); \
        accReplace(acc, tileF, tileFC); \
    } }

#define ACC_MAP(acc, r, c, x, expr) if (accActive()) { \
    ACC_VISIT(tileF) { \
        accToScratch(accFragment(acc, tileF)); \
        ACC_RUNS(4, r, c, vec4 x = scratchGet(tileS); scratchPut(tileS, expr);) \
        FragC tileFC; \
        accFromScratch(tileFC); \
        accReplace(acc, tileF, tileFC); \
    } }

// Eight columns at a time: statements see tileLow and tileHigh, expr of (r, c..c+3) and (r, c+4..c+7) in the storage type.
#define ACC_OCTS(acc, r, c, x, expr, statements) if (accActive()) { \
    ACC_FRAGMENTS(tileF) { \
        accToScratch(acc.f[tileF]); \
        ACC_RUNS(8, r, tileC, \
            uvec2 tileLow; uvec2 tileHigh; \
            { uint c = tileC; vec4 x = scratchGet(tileS); tileLow = tilePack(expr); } \
            { uint c = tileC + 4; vec4 x = scratchGet(tileS + 1); tileHigh = tilePack(expr); } \
            uint c = tileC; statements) \
        tileSync(); \
    } }

// Accumulators as they are into a tile, in the storage type: 16-bit accumulators carry the patterns, as there are none of bfloat16.
#ifdef T_bf16
#define TILE_HALF(x) uint16BitsToFloat16(uint16_t(bf16Near(x) >> 16))
#define TILE_FULL(x) uintBitsToFloat(uint(float16BitsToUint16(x)) << 16)
#else
#define TILE_HALF(x) float16_t(x)
#define TILE_FULL(x) float(x)
#endif
#define FragHalf coopmat<float16_t, gl_ScopeSubgroup, FRAG_M, FRAG_N, gl_MatrixUseAccumulator>
#define accLay(acc, tile) if (accActive()) { \
    const Tile tileL = tile; \
    ACC_FRAGMENTS(tileF) { \
        FragHalf tileH; \
        [[unroll]] for (uint tileE = 0; tileE < tileH.length(); tileE++) tileH[tileE] = TILE_HALF(acc.f[tileF][tileE]); \
        coopMatStore(tileH, tilePool, (tileL.at + accRow(tileF / PER_N) * tileL.stride + accColumn(tileF % PER_N) / 4) >> 1, tileL.stride >> 1, gl_CooperativeMatrixLayoutRowMajor); \
    } }

// And a tile added to accumulators.
#define accAddTile(acc, tile) if (accActive()) { \
    const Tile tileL = tile; \
    ACC_FRAGMENTS(tileF) { \
        FragHalf tileH; \
        coopMatLoad(tileH, tilePool, (tileL.at + accRow(tileF / PER_N) * tileL.stride + accColumn(tileF % PER_N) / 4) >> 1, tileL.stride >> 1, gl_CooperativeMatrixLayoutRowMajor); \
        [[unroll]] for (uint tileE = 0; tileE < tileH.length(); tileE++) acc.f[tileF][tileE] += TILE_FULL(tileH[tileE]); \
    } }

// The same in fp32: rows of a tile of floats begin TILE_FLOATS vectors apart, the first at oct `place` of the pool.
#define TILE_FLOATS (TILE_N / 4 + 1)
#define accSpread(acc, place) if (accActive()) { \
    ACC_FRAGMENTS(tileF) coopMatStore(acc.f[tileF], tilePool, (place) + accRow(tileF / PER_N) * TILE_FLOATS + accColumn(tileF % PER_N) / 4, TILE_FLOATS, gl_CooperativeMatrixLayoutRowMajor); \
    }
#define accCollect(acc, place) if (accActive()) { \
    ACC_FRAGMENTS(tileF) coopMatLoad(acc.f[tileF], tilePool, (place) + accRow(tileF / PER_N) * TILE_FLOATS + accColumn(tileF % PER_N) / 4, TILE_FLOATS, gl_CooperativeMatrixLayoutRowMajor); \
    }
void tilePutFloats(uint r, uint c, vec4 x) { tilePool[r * TILE_FLOATS + c / 4] = floatBitsToUint(x); }
vec4 tileFloats(uint place, uint r, uint c) { return uintBitsToFloat(tilePool[place + r * TILE_FLOATS + c / 4]); }

#define ACC_PUT(acc, tile, r, c, x, expr) ACC_OCTS(acc, r, c, x, expr, tilePool[(tile.at + r * tile.stride + c / 4) >> 1] = uvec4(tileLow, tileHigh);)
#define ACC_STORE(acc, p, r, c, i, left, x, expr) ACC_OCTS(acc, r, c, x, expr, storeOct(p, i, left, tileLow, tileHigh);)
