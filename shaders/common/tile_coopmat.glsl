// The cooperative-matrix body of tile.glsl. Fragments of FRAG_M × FRAG_N are dealt to a grid of SG_M × SG_N subgroups, each with
// PER_M × PER_N of them; subgroups beyond the grid idle. Elements of an accumulator are reached through a scratch fragment per subgroup.
#ifdef T_bf16
#define TileFloat bfloat16_t
#else
#define TileFloat float16_t
#endif

const uint SUBGROUPS = gl_WorkGroupSize.x / SUBGROUP;
const uint FRAGS_M = TILE_M / FRAG_M;
const uint FRAGS_N = TILE_N / FRAG_N;
const uint SG_WANT_N = SUBGROUPS >= 8 ? 4 : SUBGROUPS >= 2 ? 2 : 1;
const uint SG_CAN_N = SG_WANT_N < FRAGS_N ? SG_WANT_N : FRAGS_N;
const uint SG_M = SUBGROUPS / SG_CAN_N < FRAGS_M ? SUBGROUPS / SG_CAN_N : FRAGS_M;
const uint SG_N = SUBGROUPS / SG_M < FRAGS_N ? SUBGROUPS / SG_M : FRAGS_N;
const uint PER_M = FRAGS_M / SG_M;
const uint PER_N = FRAGS_N / SG_N;
const uint FRAG_STRIDE = FRAG_N / 4 + 1;

#define FragA coopmat<TileFloat, gl_ScopeSubgroup, FRAG_M, FRAG_K, gl_MatrixUseA>
#define FragB coopmat<TileFloat, gl_ScopeSubgroup, FRAG_K, FRAG_N, gl_MatrixUseB>
#define FragC coopmat<float, gl_ScopeSubgroup, FRAG_M, FRAG_N, gl_MatrixUseAccumulator>

struct Acc { FragC f[PER_M * PER_N]; };

shared vec4 tileScratch[SUBGROUPS * FRAG_M * FRAG_STRIDE];

uint accRow(uint i) { return (gl_SubgroupID / SG_N * PER_M + i) * FRAG_M; }
uint accColumn(uint j) { return (gl_SubgroupID % SG_N * PER_N + j) * FRAG_N; }
bool accActive() { return SG_M * SG_N == SUBGROUPS || gl_SubgroupID < SG_M * SG_N; }

// subgroupBarrier() would order buffer memory too.
void tileSync() { controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease); }

void accZero(out Acc acc) {
    [[unroll]] for (uint i = 0; i < PER_M * PER_N; i++) acc.f[i] = FragC(0.0);
}

void accScale(inout Acc acc, float s) {
    [[unroll]] for (uint i = 0; i < PER_M * PER_N; i++) acc.f[i] = acc.f[i] * s;
}

void accAdd(inout Acc acc, Acc other) {
    [[unroll]] for (uint i = 0; i < PER_M * PER_N; i++) acc.f[i] = acc.f[i] + other.f[i];
}

// A matrix whose columns are all equal is the vector loaded with stride 0.
void accScaleRows(inout Acc acc, uint at) {
    if (!accActive()) return;
    [[unroll]] for (uint i = 0; i < PER_M; i++) {
        FragC rows;
        coopMatLoad(rows, tileVector, at + accRow(i), 0, gl_CooperativeMatrixLayoutColumnMajor);
        [[unroll]] for (uint j = 0; j < PER_N; j++) acc.f[i * PER_N + j] = acc.f[i * PER_N + j] * rows;
    }
}

void accScaleColumns(inout Acc acc, uint at) {
    if (!accActive()) return;
    [[unroll]] for (uint j = 0; j < PER_N; j++) {
        FragC columns;
        coopMatLoad(columns, tileVector, at + accColumn(j), 0, gl_CooperativeMatrixLayoutRowMajor);
        [[unroll]] for (uint i = 0; i < PER_M; i++) acc.f[i * PER_N + j] = acc.f[i * PER_N + j] * columns;
    }
}

void mma(inout Acc acc, Tile a, Tile b, uint k) {
    if (!accActive()) return;
    [[unroll]] for (uint l = 0; l < tileTrip(k); l += FRAG_K) {
        FragA fa[PER_M];
        [[unroll]] for (uint i = 0; i < PER_M; i++) {
            if (a.transposed) coopMatLoad(fa[i], tilePool, a.at + l * a.stride + accRow(i) / 4, a.stride, gl_CooperativeMatrixLayoutColumnMajor);
            else coopMatLoad(fa[i], tilePool, a.at + accRow(i) * a.stride + l / 4, a.stride, gl_CooperativeMatrixLayoutRowMajor);
        }
        [[unroll]] for (uint j = 0; j < PER_N; j++) {
            FragB fb;
            if (b.transposed) coopMatLoad(fb, tilePool, b.at + accColumn(j) * b.stride + l / 4, b.stride, gl_CooperativeMatrixLayoutColumnMajor);
            else coopMatLoad(fb, tilePool, b.at + l * b.stride + accColumn(j) / 4, b.stride, gl_CooperativeMatrixLayoutRowMajor);
            [[unroll]] for (uint i = 0; i < PER_M; i++) acc.f[i * PER_N + j] = coopMatMulAdd(fa[i], fb, acc.f[i * PER_N + j]);
        }
    }
}

void accToScratch(FragC f) {
    coopMatStore(f, tileScratch, gl_SubgroupID * FRAG_M * FRAG_STRIDE, FRAG_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
    tileSync();
}

void accFromScratch(out FragC f) {
    tileSync();
    coopMatLoad(f, tileScratch, gl_SubgroupID * FRAG_M * FRAG_STRIDE, FRAG_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
    tileSync();
}

// One pass over the quads of fragment tileF: r, c in the tile, tileS the quad's place in the scratch.
#define ACC_QUADS(r, c, statements) \
    [[unroll]] for (uint tileE = gl_SubgroupInvocationID; tileE < tileTrip(FRAG_M * (FRAG_N / 4)); tileE += SUBGROUP) { \
        uint r = accRow(tileF / PER_N) + tileE / (FRAG_N / 4); uint c = accColumn(tileF % PER_N) + tileE % (FRAG_N / 4) * 4; \
        uint tileS = (gl_SubgroupID * FRAG_M + tileE / (FRAG_N / 4)) * FRAG_STRIDE + tileE % (FRAG_N / 4); \
        statements \
    }

#define ACC_EACH(acc, r, c, x, statements) if (accActive()) { \
    [[unroll]] for (uint tileF = 0; tileF < PER_M * PER_N; tileF++) { \
        accToScratch(acc.f[tileF]); \
        ACC_QUADS(r, c, vec4 x = tileScratch[tileS]; statements) \
        tileSync(); \
    } }

#define ACC_SET(acc, r, c, expr) if (accActive()) { \
    [[unroll]] for (uint tileF = 0; tileF < PER_M * PER_N; tileF++) { \
        ACC_QUADS(r, c, tileScratch[tileS] = expr;) \
        accFromScratch(acc.f[tileF]); \
    } }

#define ACC_MAP(acc, r, c, x, expr) if (accActive()) { \
    [[unroll]] for (uint tileF = 0; tileF < PER_M * PER_N; tileF++) { \
        accToScratch(acc.f[tileF]); \
        ACC_QUADS(r, c, vec4 x = tileScratch[tileS]; tileScratch[tileS] = expr;) \
        accFromScratch(acc.f[tileF]); \
    } }
