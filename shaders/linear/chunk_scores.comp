// CUM, AINTRA: what the tokens of a chunk are to each other under a gate of channels, of rows i that read the state (q, and a) and rows j that write to it (k, and b):
//   G_r = sum of g_t over t <= r of the chunk
//   A_ij,rs = sum over channels of i_r j_s e^{G_r - G_s} for s <= r        times `scale` for q
// and the rows with the decay that what they read or write has seen since the chunk's start, or will see to its end: e^G i and e^{G_C - G} j.
// e^{-G_s} alone would overflow, so pairs are taken level by level: for W = C/2, C/4 .. 1, rows r in the upper and s in the lower half of a block
// of 2W tokens. With rho = G of the token before the upper half both G_r - rho and rho - G_s are at most 0, and as a token is
// either a row or a column of its level, one tile X (i_r e^{G_r - rho} or j_s e^{rho - G_s}) gives the level as X X^T. The diagonal is i . j.
// That is for strong decays; weak ones (weak.glsl) make it one product.
// EXCLUSIVE: a_r is gated by G_{r-1} instead, and its products are meant for s < r. SAME: a is k. UNIT: q and k are divided by their lengths first (a is k
// then, and there is no b).
// q, a, k, b [tokens, H, K]; g: log decay [tokens, H, K] of GATE_TYPE; gate: G, fp32 [tokens, H, K], of weak chunks only that of the last token unless KEEPS;
// A [tokens, H, C]: of q with zeros above the diagonal, of a fp32 and unspecified there, but with b those of a and k zeros from the diagonal on; readers, writers: the rows with their decay [READERS or WRITERS, tokens, H, K].
// One workgroup a chunk (x) and head (y).
// @variants T=f32|f16|bf16 MM=plain|coopmat
// @exclude T=f32 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "common/octs.glsl"
#include "linear/sequences.glsl"
#ifdef MM_coopmat
#extension GL_KHR_shader_subgroup_shuffle : require
#extension GL_KHR_shader_subgroup_shuffle_relative : require
#endif

layout(push_constant, scalar) uniform Args {
    TBuf q; TBuf a; TBuf k; TBuf b; AnyBuf g; F32Buf gate; TBuf qk; TBuf qb; F32Buf ak; F32Buf ab; TBuf readers; TBuf writers; I32Buf packed;
    uint N; uint T; uint C; uint H; uint K; float scale;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // chunk_tiles.glsl, of plain arithmetic
layout(constant_id = 10) const uint READERS = 1;
layout(constant_id = 11) const uint WRITERS = 1;
layout(constant_id = 12) const bool EXCLUSIVE = false;
layout(constant_id = 13) const bool SAME = false;
layout(constant_id = 14) const bool UNIT = false;
layout(constant_id = 15) const bool FULL = false;          // widths are multiples of 64
layout(constant_id = 16) const bool DENSE = false;         // all chunks have 64 tokens
layout(constant_id = 17) const uint SLICES = 1;            // ceil(K / 64)
layout(constant_id = 18) const uint GATE_TYPE = 0;
layout(constant_id = 19) const bool KEEPS = false;

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
#define TILE_SOLID FULL
#ifdef MM_coopmat
#define WIDTH 64
#else
#define WIDTH SLICE
#endif
#define TILE_QUADS (2 * tileQuads(64, WIDTH))
#define TILE_BARE
#define TILE_VECTOR 384
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "linear/levels.glsl"
#include "linear/weak.glsl"

uint K = args.K, H = args.H, C = DENSE ? 64 : args.C, count, lane = gl_LocalInvocationIndex;
F32Buf gates;
AnyBuf given;

const float EPSILON = 1e-6;                                // of UNIT, in the root
const uint LENGTHS = 256;                                  // tileVector[256 ..]: one over the length of rows of q, from 320 on of k; 1 without UNIT

uint tokenBefore(uint r) { return max(r, 1) - 1; }
TBuf gatedRows(TBuf p, uint64_t token, uint i) { return atT(p, (uint64_t(i * (isNull(args.packed) ? args.N * args.T : args.T)) * H + token) * K); }
float lengthOf(uint i, uint r) { return tileVector[LENGTHS + 64 * i + r]; }

// G to memory, a column an invocation, some tokens at a time: their loads are under way together.
const uint AHEAD = 16;
void sumGates() {
    [[dont_unroll]] for (uint c = lane; c < K; c += gl_WorkGroupSize.x) {
        float sum = 0;
        [[dont_unroll]] for (uint r = 0; r < count; r += AHEAD) {
            uint next[AHEAD];
            [[unroll]] for (uint j = 0; j < AHEAD; j++) {
                uint i = min(r + j, count - 1) * H * K + c;
                next[j] = GATE_TYPE == 0 ? given.v[i] : uint(U16Buf(uint64_t(given)).v[i]);
            }
            [[unroll]] for (uint j = 0; j < AHEAD; j++) {
                sum += GATE_TYPE == 0 ? uintBitsToFloat(next[j]) : GATE_TYPE == 1 ? f16Value(next[j]) : bf16Value(next[j]);
                if (r + j < count) gates.v[(r + j) * H * K + c] = sum;
            }
        }
    }
}

// What the workgroup has written to memory is there for all of it.
void publish() {
    controlBarrier(gl_ScopeWorkgroup, gl_ScopeWorkgroup, gl_StorageSemanticsBuffer | gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
}

// A's products with k are a factor as those of q are, where b has those that are inverted.
bool isFactor(uint i, uint j) { return i == 0 || WRITERS > 1 && j == 0; }
void storeProduct(uint64_t token, uint i, uint j, uint at, float x) {
    if (i == 0) storeT(atT(j == 0 ? args.qk : args.qb, token * C), at, x);
    else if (isFactor(i, j)) storeT(atT(TBuf(uint64_t(args.ak)), token * C), at, x);
    else atF(j == 0 ? args.ak : args.ab, token * C).v[at] = x;
}
void storeLevel(uint64_t token, uint i, uint j, uint r, uint c, vec4 x, uint width) {
    [[unroll]] for (uint e = 0; e < 4; e++) if (r < count && isLevelPair(r, c + e, width)) storeProduct(token, i, j, r * H * C + c + e, x[e]);
}
// Columns up to the row's own, or before it.
vec4 lower(uint r, uint c, uint strict, vec4 x) { return mix(vec4(0), x, lessThanEqual(uvec4(c + strict) + uvec4(0, 1, 2, 3), uvec4(r))); }

// The lengths of row r of reader i and of four rows of writer j from c on.
vec4 pairLengths(uint i, uint j, uint r, uint c) {
    vec4 x = vec4(1);
    if (UNIT) [[unroll]] for (uint e = 0; e < 4; e++) x[e] = lengthOf(i, r) * lengthOf(1, c + e);
    return x;
}

Tile x = Tile(0, tileStride(WIDTH), false), y = Tile(tileQuads(64, WIDTH), tileStride(WIDTH), false);

vec4 gateQuad(uint r, uint c) { return rowQuadF(gates, min(r, count - 1), c, K, H * K, count); }
vec4 entering(uint r, uint c, bool exclusive) { return exclusive ? (r == 0 ? vec4(1) : exp(gateQuad(tokenBefore(r), c))) : exp(gateQuad(r, c)); }
vec4 leaving(uint r, uint c) { return exp(gateQuad(count - 1, c) - gateQuad(r, c)); }
#define SAVE_GATED(p, rows, i, factor) TILE_DEAL(tileE, 64 * (WIDTH / 4)) { \
    uint r = tileE / (WIDTH / 4), c = k0 + tileE % (WIDTH / 4) * 4; \
    vec4 gated = widen(rowQuad(rows, r, c, K, H * K, count)) * lengthOf(i, r) * factor; \
    storeTail4T(p, r * H * K + c, r < count ? int(K) - int(c) : 0, gated); }

#ifdef MM_coopmat
// Eight invocations have RUNS rows of the chunk that follow each other, each a column of octs. Gates, in powers of two, are summed over an invocation's rows, then over
// those of its subgroup, then over the subgroups, up to and from the chunk's middle: what weak chunks need are differences to G there.
const uint RUNS = TILE_RUNS(64, 64);
const float LOG2E = 1.442695041, LN2 = 0.6931471806;
const bool EARLY = READERS == 1;                           // a barrier follows on loads: else NVIDIA's compiler issues those of rows when the gates have come (not measured of two readers)
shared vec4 gateSums[SUBGROUPS * 16];
uint column = gl_LocalInvocationIndex % 8 * 8, row0 = gl_LocalInvocationIndex / 8 * RUNS;

// Slices of channels spelled out, as what is read ahead is waited for where it crosses the end of a loop: NVIDIA's compiler does not unroll one of such a length.
#define EACH_SLICE(s, statements) \
    if (TILE_CPU) { \
        [[dont_unroll]] for (uint s = 0; s < SLICES; s++) { statements } \
    } else { \
        { const uint s = 0; statements } \
        if (SLICES > 1) { const uint s = 1; statements } \
        if (SLICES > 2) { const uint s = 2; statements } \
        if (SLICES > 3) { const uint s = 3; statements } \
        [[dont_unroll]] for (uint s = 4; s < SLICES; s++) { statements } \
    }
#define EACH_ROW(j, r, statements) [[unroll]] for (uint j = 0; j < RUNS; j++) { uint r = row0 + j; statements }
#define LIMIT (DENSE ? EVERY_ROW : count)
bool isThere(uint r, uint c) { return (DENSE || r < count) && (FULL || c < K); }
Oct nextGate(uint r, uint c) {
    uint row = DENSE ? r : min(r, count - 1);
    Oct x;
    if (TILE_WHOLE) x = octAt(uint64_t(given) + uint64_t(FULL || c < K ? row * H * K + c : 0) * (GATE_TYPE == 0 ? 4ul : 2ul), GATE_TYPE);
    else x = loadOct(atAny(given, GATE_TYPE, row * H * K), GATE_TYPE, c, K, false);
    return x;
}
#define FETCH_ROWS(next, p, k0) EACH_ROW(j, r, next[j] = nextOct(p, r, (k0) + column, K, H * K, LIMIT);)
// One slice of gates and rows.
#define FETCH(k0) { \
    EACH_ROW(j, r, nextGates[j] = nextGate(r, (k0) + column);) \
    FETCH_ROWS(nextK, rowsK, k0) \
    FETCH_ROWS(nextQ, rowsQ, k0) \
    if (READERS > 1 && !SAME) FETCH_ROWS(nextA, rowsA, k0) \
    if (WRITERS > 1) FETCH_ROWS(nextB, rowsB, k0) }
#define ADD_ABOVE(apart) if (SUBGROUP > apart) { \
    vec4 above = subgroupShuffleUp(sum[e], apart); \
    sum[e] += gl_SubgroupInvocationID >= apart ? above : vec4(0); }
uvec4 packed(vec4 low, vec4 high) { return uvec4(tilePack(low), tilePack(high)); }
#define LAND(tile, octs) EACH_ROW(j, r, tilePool[(tile.at + r * tile.stride + column / 4) >> 1] = octs[j];)
// A row as an operand, and with the decay from the chunk's start or to its end, which is the operand times `rest`.
#define GATE_ROW(next, length, factor, rest, operand, p) { \
    uvec4 oct = landedOct(next, r, c, K, LIMIT); \
    vec4 low = unpack4(oct.xy) * factor[0]; \
    vec4 high = unpack4(oct.zw) * factor[1]; \
    if (UNIT) { \
        low *= length; \
        high *= length; \
    } \
    operand = packed(low, high); \
    oct = packed(low * rest[0], high * rest[1]); \
    storeOct(p, r * H * K + c, FULL && DENSE ? 8 : r < count ? int(K) - int(c) : 0, oct.xy, oct.zw); }
float squares(uvec4 oct) { return dot(unpack4(oct.xy), unpack4(oct.xy)) + dot(unpack4(oct.zw), unpack4(oct.zw)); }
// One over the lengths of an invocation's rows, two slices at a time.
const uint MEASURED = SLICES > 1 ? 2 : 1;
#define MEASURE(lengths, p) { \
    uvec4 octs[RUNS * MEASURED]; \
    [[unroll]] for (uint j = 0; j < RUNS; j++) lengths[j] = 0; \
    [[dont_unroll]] for (uint k0 = 0; k0 < K; k0 += 64 * MEASURED) { \
        [[unroll]] for (uint e = 0; e < MEASURED * RUNS; e++) octs[e] = nextOct(p, row0 + e % RUNS, k0 + e / RUNS * 64 + column, K, H * K, LIMIT); \
        [[unroll]] for (uint e = 0; e < MEASURED * RUNS; e++) lengths[e % RUNS] += squares(landedOct(octs[e], row0 + e % RUNS, k0 + e / RUNS * 64 + column, K, LIMIT)); \
    } \
    EACH_ROW(j, r, \
        lengths[j] += subgroupShuffleXor(lengths[j], 1); \
        lengths[j] += subgroupShuffleXor(lengths[j], 2); \
        lengths[j] += subgroupShuffleXor(lengths[j], 4); \
        lengths[j] = inversesqrt(lengths[j] + EPSILON);) }
#define SAVE_FACTOR(acc, p, factor, strict) { \
    TBuf A = atT(p, token * C); \
    accSpread(acc, 0) \
    barrier(); \
    TILE_EACH_RUN(64, 64, tileO, r, c, \
        storeOct(A, r * H * C + c, DENSE ? 8 : r < count ? int(C) - int(c) : 0, tilePack(lower(r, c, strict, factor * tileFloats(0, r, c))), \
            tilePack(lower(r, c + 4, strict, factor * tileFloats(0, r, c + 4))));) \
    barrier(); }
#define SAVE_ERASED(acc, p) { \
    F32Buf A = atF(p, token * C); \
    accSpread(acc, 0) \
    barrier(); \
    TILE_EACH_RUN(64, 64, tileO, r, c, \
        if (DENSE || r < count && c < C) { \
            store4F(A, r * H * C + c, tileFloats(0, r, c)); \
            store4F(A, r * H * C + c + 4, tileFloats(0, r, c + 4)); \
        }) \
    barrier(); }
#define SAVE_LEVEL(acc) { \
    accSpread(acc, 0) \
    barrier(); \
    TILE_EACH_RUN(64, 64, tileO, r, c, \
        storeLevel(token, i, j, r, c, factor * pairLengths(i, j, r, c) * tileFloats(0, r, c), width); \
        storeLevel(token, i, j, r, c + 4, factor * pairLengths(i, j, r, c + 4) * tileFloats(0, r, c + 4), width);) }
#else
vec4 fromMiddle(uint r, uint c) { return gateQuad(r, c) - gateQuad(middleToken(count), c); }
#define LAND(tile, p, i, exponent) TILE_STAGE(tile, 64, WIDTH, r, c, (widen(rowQuad(p, r, k0 + c, K, H * K, count)) * lengthOf(i, r) * exp(exponent)))
#define SAVE_FACTOR(acc, p, factor, strict) ACC_EACH(acc, r, c, v, if (r < count && c < C) store4T(atT(p, token * C), r * H * C + c, lower(r, c, strict, factor * v));)
#define SAVE_ERASED(acc, p) ACC_EACH(acc, r, c, v, if (r < count && c < C) store4F(atF(p, token * C), r * H * C + c, v);)
#define SAVE_LEVEL(acc) ACC_EACH(acc, r, c, v, storeLevel(token, i, j, r, c, factor * pairLengths(i, j, r, c) * v, width);)
#endif

void main() {
    uint head = gl_WorkGroupID.y, first = gl_WorkGroupID.x * 64;
    count = 64;
    if (!DENSE) {
        Chunk chunk = chunkAt(args.packed, args.N, gl_WorkGroupID.x, args.T, C);
        if (chunk.sequence < 0) return;
        first = chunk.tokens.first;
        count = chunk.tokens.count;
    }
    uint64_t token = uint64_t(first) * H + head;
    TBuf rowsQ = atT(args.q, token * K), rowsA = atT(READERS > 1 ? args.a : args.q, token * K);
    TBuf rowsK = atT(args.k, token * K), rowsB = atT(WRITERS > 1 ? args.b : args.k, token * K);
    TBuf gatedQ = gatedRows(args.readers, token, 0), gatedA = gatedRows(args.readers, token, 1);
    TBuf gatedK = gatedRows(args.writers, token, 0), gatedB = gatedRows(args.writers, token, 1);
    gates = atF(args.gate, token * K);
    given = atAny(args.g, GATE_TYPE, token * K);

    Acc qk, qb, ak, ab;
    accZero(qk);
    accZero(qb);
    accZero(ak);
    accZero(ab);
    bool weak = false;
#ifdef MM_coopmat
    if (WEAKEST >= 0) {
        Oct nextGates[RUNS];
        uvec4 nextQ[RUNS]; uvec4 nextK[RUNS]; uvec4 nextA[RUNS]; uvec4 nextB[RUNS];
        float lengthsQ[RUNS]; float lengthsK[RUNS];
        FETCH(0)
        if (UNIT) {
            MEASURE(lengthsQ, rowsQ)
            MEASURE(lengthsK, rowsK)
        }
        if (lane == 0) strongChannels = 0;
        if (EARLY) barrier();
        bool strong = false;
        EACH_SLICE(s,
            uint k0 = s * 64;
            uint c = k0 + column;
            vec4 d[2 * RUNS];                              // G less that in the middle
            vec4 sum[2]; vec4 before[2]; vec4 middle[2]; vec4 rest[2];
            sum[0] = sum[1] = vec4(0);
            EACH_ROW(j, r, [[unroll]] for (uint e = 0; e < 2; e++) {
                sum[e] += isThere(r, c) ? LOG2E * quadOf(nextGates[j], GATE_TYPE, e) : vec4(0);
                d[2 * j + e] = sum[e];
            })
            [[unroll]] for (uint e = 0; e < 2; e++) {
                ADD_ABOVE(8)
                ADD_ABOVE(16)
                ADD_ABOVE(32)
                before[e] = subgroupShuffleUp(sum[e], 8);
                if (gl_SubgroupInvocationID < 8) before[e] = vec4(0);
                if (gl_SubgroupInvocationID + 8 >= SUBGROUP) gateSums[gl_SubgroupID * 16 + column / 4 + e] = sum[e];
            }
            barrier();
            [[unroll]] for (uint e = 0; e < 2; e++) {
                middle[e] = rest[e] = vec4(0);
                [[unroll]] for (uint i = 0; i < tileTrip(SUBGROUPS); i++) {
                    vec4 part = gateSums[i * 16 + column / 4 + e];
                    if (i < SUBGROUPS / 2) middle[e] += part;
                    else rest[e] += part;
                    before[e] += (i < gl_SubgroupID ? 1.0 : 0.0) * part;
                }
                before[e] -= middle[e];
                [[unroll]] for (uint j = 0; j < RUNS; j++) d[2 * j + e] += before[e];
                strong = strong || any(not(lessThanEqual(max(-middle[e], -rest[e]), vec4(WEAKEST * LOG2E))));
            }
            uvec4 readQ[RUNS]; uvec4 readA[RUNS]; uvec4 writeK[RUNS]; uvec4 writeB[RUNS];
            vec4 entry[2]; vec4 exit[2]; vec4 earlier[2];
            [[unroll]] for (uint e = 0; e < 2; e++) {
                entry[e] = exp2(middle[e]);
                exit[e] = exp2(rest[e]);
                if (EXCLUSIVE) earlier[e] = exp2(before[e]);
            }
            EACH_ROW(j, r,
                vec4 up[2]; vec4 down[2];
                [[unroll]] for (uint e = 0; e < 2; e++) {
                    up[e] = exp2(d[2 * j + e]);
                    down[e] = exp2(-d[2 * j + e]);
                    if (!EXCLUSIVE) earlier[e] = up[e];
                }
                GATE_ROW(nextQ[j], lengthsQ[j], up, entry, readQ[j], gatedQ)
                GATE_ROW(nextK[j], lengthsK[j], down, exit, writeK[j], gatedK)
                if (READERS > 1) GATE_ROW((SAME ? nextK[j] : nextA[j]), lengthsK[j], earlier, entry, readA[j], gatedA)
                if (WRITERS > 1) GATE_ROW(nextB[j], 1.0, down, exit, writeB[j], gatedB)
                earlier = up;
                if (KEEPS || r == count - 1) {
                    storeTail4F(gates, r * H * K + c, r < count ? int(K) - int(c) : 0, LN2 * (d[2 * j] + middle[0]));
                    storeTail4F(gates, r * H * K + c + 4, r < count ? int(K) - int(c + 4) : 0, LN2 * (d[2 * j + 1] + middle[1]));
                })
            LAND(x, readQ)
            LAND(y, writeK)
            if (EARLY && s + 1 < SLICES) FETCH(k0 + 64)
            barrier();
            if (!EARLY && s + 1 < SLICES) FETCH(k0 + 64)
            mma(qk, x, T(y), 64)
            if (READERS > 1) {
                barrier();
                LAND(x, readA)
                barrier();
                mma(ak, x, T(y), 64)
            }
            if (WRITERS > 1) {
                barrier();
                LAND(y, writeB)
                barrier();
                if (READERS > 1) mma(ab, x, T(y), 64)
                barrier();
                LAND(x, readQ)
                barrier();
                mma(qb, x, T(y), 64)
            })
        if (strong) strongChannels = 1;
        barrier();
        weak = strongChannels == 0;
    }
    if (!weak) {
#endif
    [[dont_unroll]] for (uint i = lane; i < 128; i += gl_WorkGroupSize.x) {
        float sum = 0;
        uint r = min(i % 64, count - 1);
        [[dont_unroll]] for (uint c = 0; UNIT && c < K; c++) {
            float v = loadT(i < 64 ? rowsQ : rowsK, r * H * K + c);
            sum += v * v;
        }
        tileVector[LENGTHS + i] = UNIT ? inversesqrt(sum + EPSILON) : 1.0;
    }
    publish();
    sumGates();
    publish();
    [[dont_unroll]] for (uint k0 = 0; k0 < K; k0 += WIDTH) {
        SAVE_GATED(gatedQ, rowsQ, 0, entering(r, c, false))
        SAVE_GATED(gatedK, rowsK, 1, leaving(r, c))
        if (READERS > 1) SAVE_GATED(gatedA, rowsA, 1, entering(r, c, EXCLUSIVE))
        if (WRITERS > 1) SAVE_GATED(gatedB, rowsB, 1, leaving(r, c))
    }
#ifdef MM_coopmat
    }
#else
    weak = isWeakChunk(gates, K, H * K, count);
    [[dont_unroll]] for (uint k0 = 0; weak && k0 < K; k0 += WIDTH) {
        LAND(y, rowsK, 1, -fromMiddle(r, k0 + c))
        LAND(x, rowsQ, 0, fromMiddle(r, k0 + c))
        barrier();
        mma(qk, x, T(y), WIDTH);
        barrier();
        if (READERS > 1) {
            LAND(x, rowsA, 1, fromMiddle(EXCLUSIVE ? tokenBefore(r) : r, k0 + c))
            barrier();
            mma(ak, x, T(y), WIDTH);
            barrier();
        }
        if (WRITERS > 1) {
            LAND(y, rowsB, 1, -fromMiddle(r, k0 + c))
            barrier();
            mma(ab, x, T(y), WIDTH);
            barrier();
            LAND(x, rowsQ, 0, fromMiddle(r, k0 + c))
            barrier();
            mma(qb, x, T(y), WIDTH);
            barrier();
        }
    }
#endif
    if (weak) {
        SAVE_FACTOR(qk, args.qk, args.scale, 0)
        if (WRITERS > 1) SAVE_FACTOR(qb, args.qb, args.scale, 0)
        if (READERS > 1 && WRITERS == 1) SAVE_ERASED(ak, args.ak)
        if (READERS > 1 && WRITERS > 1) SAVE_FACTOR(ak, TBuf(uint64_t(args.ak)), 1.0, 1)
        if (READERS > 1 && WRITERS > 1) SAVE_ERASED(ab, args.ab)
        return;
    }

    [[dont_unroll]] for (uint pair = 0; pair < READERS * WRITERS; pair++) {
        uint i = pair / WRITERS, j = pair % WRITERS;
        TBuf rowsI = i == 0 ? rowsQ : rowsA, rowsJ = j == 0 ? rowsK : rowsB;
        float factor = i == 0 ? args.scale : 1.0;
        bool exclusive = EXCLUSIVE && i == 1;
        [[dont_unroll]] for (uint e = lane; isFactor(i, j) && e < count * C; e += gl_WorkGroupSize.x) if (e % C + i > e / C) storeProduct(token, i, j, e / C * H * C + e % C, uintBitsToFloat(count >> 31));     // 0, but no constant of 16 bits
        [[dont_unroll]] for (uint width = C / 2; width > 0; width /= 2) {
            Acc z;
            accZero(z);
            [[dont_unroll]] for (uint k0 = 0; k0 < K; k0 += WIDTH) {
                TILE_STAGE(x, 64, WIDTH, r, c, levelElements(rowsI, rowsJ, gates, r, k0 + c, width, K, H * K, count, exclusive))
                barrier();
                mma(z, x, T(x), WIDTH);
                barrier();
            }
            SAVE_LEVEL(z)
            barrier();
        }
        uint parts = min(gl_WorkGroupSize.x / 64, 4);      // the diagonal: so many invocations a row
        uint row = lane / parts, part = lane % parts;
        float sum = 0;
        for (uint k = part; row < count && k < K; k += parts) sum += loadT(rowsI, row * H * K + k) * loadT(rowsJ, row * H * K + k);
        if (row < 64) tileVector[lane] = sum;
        barrier();
        if (lane < count && (i == 0 || !isFactor(i, j))) {
            float dot = 0;
            for (uint p = 0; p < parts; p++) dot += tileVector[parts * lane + p];
            storeProduct(token, i, j, lane * (H * C + 1), factor * pairLengths(i, j, lane, lane).x * dot);
        }
        barrier();
    }
}
