// The plain body of tile.glsl. An invocation holds PER_M consecutive rows × PER_N quads of columns in registers and takes four steps of the
// reduction at a time. On GPUs neighbouring lanes hold neighbouring columns; on CPU drivers neighbouring rows, so that what
// is read of B is the same for a whole subgroup (one scalar load) and A is the only gather.
const uint ACC_QUADS_ALL = TILE_M * TILE_N / 4;
const uint PER = ACC_QUADS_ALL > gl_WorkGroupSize.x ? ACC_QUADS_ALL / gl_WorkGroupSize.x : 1;
const uint PER_N_GPU = PER >= 16 ? 2 : 1;
const uint PER_N_CPU = PER >= 4 ? 4 : PER;
const uint PER_N = TILE_CPU ? PER_N_CPU : PER_N_GPU;
const uint PER_M = PER / PER_N;
const uint GROUPS_M = TILE_M / PER_M;                      // the grid of invocations over the tile
const uint GROUPS_N = TILE_N / 4 / PER_N;
const uint LANES = TILE_CPU ? GROUPS_M : GROUPS_N;         // how far lanes run along their direction
const uint LANES_LESS = LANES < SUBGROUP ? LANES : SUBGROUP;

struct Acc { vec4 v[PER_M * PER_N]; };

// Written with the subgroup's number and the lane apart, so that a compiler sees what is uniform in a subgroup.
uint accMajor() {
    return LANES >= SUBGROUP ? gl_SubgroupID / (LANES / LANES_LESS) : gl_SubgroupID * (SUBGROUP / LANES_LESS) + gl_SubgroupInvocationID / LANES;
}
uint accMinor() {
    return LANES >= SUBGROUP ? gl_SubgroupID % (LANES / LANES_LESS) * SUBGROUP + gl_SubgroupInvocationID : gl_SubgroupInvocationID % LANES;
}
uint accRow(uint i) { return (TILE_CPU ? accMinor() : accMajor()) * PER_M + i; }
uint accColumn(uint j) { return ((TILE_CPU ? accMajor() : accMinor()) + j * GROUPS_N) * 4; }
bool accActive() { return GROUPS_M * GROUPS_N == gl_WorkGroupSize.x || accMajor() < GROUPS_M * GROUPS_N / LANES; }

void accZero(out Acc acc) {
    [[unroll]] for (uint i = 0; i < PER_M * PER_N; i++) acc.v[i] = vec4(0);
}

void accScale(inout Acc acc, float s) {
    [[unroll]] for (uint i = 0; i < PER_M * PER_N; i++) acc.v[i] *= s;
}

void accAdd(inout Acc acc, Acc other) {
    [[unroll]] for (uint i = 0; i < PER_M * PER_N; i++) acc.v[i] += other.v[i];
}

void accScaleRows(inout Acc acc, uint at) {
    if (!accActive()) return;
    [[unroll]] for (uint i = 0; i < PER_M * PER_N; i++) acc.v[i] *= tileVector[at + accRow(i / PER_N)];
}

void accScaleColumns(inout Acc acc, uint at) {
    if (!accActive()) return;
    [[unroll]] for (uint i = 0; i < PER_M * PER_N; i++) {
        uint c = at + accColumn(i % PER_N);
        acc.v[i] *= vec4(tileVector[c], tileVector[c + 1], tileVector[c + 2], tileVector[c + 3]);
    }
}

// Four steps of the reduction for row r of A, and the four rows of B under columns c..c+3. Transposing in registers is renaming.
vec4 tileRowOfA(Tile a, uint r, uint k) {
    if (!a.transposed) return tilePool[a.at + r * a.stride + k / 4];
    uint q = a.at + k * a.stride + r / 4;
    uint e = r % 4;
    return vec4(tilePool[q][e], tilePool[q + a.stride][e], tilePool[q + 2 * a.stride][e], tilePool[q + 3 * a.stride][e]);
}

mat4 tileRowsOfB(Tile b, uint k, uint c) {
    uint q = b.transposed ? b.at + c * b.stride + k / 4 : b.at + k * b.stride + c / 4;
    mat4 m = mat4(tilePool[q], tilePool[q + b.stride], tilePool[q + 2 * b.stride], tilePool[q + 3 * b.stride]);
    return b.transposed ? transpose(m) : m;
}

vec4 addProduct(vec4 acc, mat4 rows, vec4 x) {
    return fma(rows[3], vec4(x.w), fma(rows[2], vec4(x.z), fma(rows[1], vec4(x.y), fma(rows[0], vec4(x.x), acc))));
}

void mma(inout Acc acc, Tile a, Tile b, uint k) {
    if (!accActive()) return;
    [[dont_unroll]] for (uint l = 0; l < k; l += 4) {
        vec4 x[PER_M];
        [[unroll]] for (uint i = 0; i < PER_M; i++) x[i] = tileRowOfA(a, accRow(i), l);
        [[unroll]] for (uint j = 0; j < PER_N; j++) {
            mat4 rows = tileRowsOfB(b, l, accColumn(j));
            [[unroll]] for (uint i = 0; i < PER_M; i++) acc.v[i * PER_N + j] = addProduct(acc.v[i * PER_N + j], rows, x[i]);
        }
    }
}

#define ACC_EACH(acc, r, c, x, statements) if (accActive()) { \
    [[unroll]] for (uint tileF = 0; tileF < PER_M * PER_N; tileF++) { \
        uint r = accRow(tileF / PER_N); uint c = accColumn(tileF % PER_N); vec4 x = acc.v[tileF]; \
        statements \
    } }

#define ACC_SET(acc, r, c, expr) if (accActive()) { \
    [[unroll]] for (uint tileF = 0; tileF < PER_M * PER_N; tileF++) { \
        uint r = accRow(tileF / PER_N); uint c = accColumn(tileF % PER_N); acc.v[tileF] = expr; \
    } }

#define ACC_MAP(acc, r, c, x, expr) if (accActive()) { \
    [[unroll]] for (uint tileF = 0; tileF < PER_M * PER_N; tileF++) { \
        uint r = accRow(tileF / PER_N); uint c = accColumn(tileF % PER_N); vec4 x = acc.v[tileF]; acc.v[tileF] = expr; \
    } }

#define ACC_PUT(acc, tile, r, c, x, expr) ACC_EACH(acc, r, c, x, tilePut(tile, r, c, expr);)
#define ACC_STORE(acc, p, r, c, i, left, x, expr) ACC_EACH(acc, r, c, x, storeTail4T(p, i, left, expr);)
#define accLay(acc, tile) ACC_PUT(acc, tile, tileR, tileC, tileX, tileX)
#define mmaEach(accs, count, a, t, b, k) [[unroll]] for (uint t = 0; t < count; t++) mma(accs[t], a, b, k);
