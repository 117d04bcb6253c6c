// STATE-delta: walks the chunks of a sequence with COLUMNS columns of the state S [K, V] in K / 64 accumulators, and stores S at each chunk.
//   out = base + f * (x S);   S <- e^{G_C} S + (f' * y)^T out + (f'' * z)^T w
//   forward: states[c] enters chunk c.  delta rule: f = sign = -1, x = W, base = U, f' = e^{G_C - G}, y = k, no z; out = V~
//     generalized: f = sign = 1, y = b e^{G_C - G}, z = k e^{G_C - G}, w = v, f' = f'' = 1
//   REVERSE: states[c] is the gradient of the state leaving chunk c.  f = e^{G_C - G}, x = k (b), base = A^T do, y = W, f' = sign, z = q, w = do,
//     f'' = scale e^G; out = dV~
// WITH_M: the products within the chunk are made here, so that no W and U are: M [tokens, H, C] = (I + A)^-1 of kkt.comp or solve.comp
//   forward: x = a, base = v:  out = M beta (v - e^{Ga} a S) = V~;  f' and y as above
//   REVERSE: x = k, base = A^T do, y = a:  out = M^T (base + e^{G_C - G} k S) = M^T dV~;  f' = -beta e^{Ga}
//   generalized: base = A_ak v, sign = 1, no beta
// Ga is G, or with EXCLUSIVE that of the token before. UNIT (WITH_M, no second writer): x and y are the same rows, and divided by their lengths: z is 1 / |x|, fp32 [tokens, H].
// With a gate of channels the e^G factors are expected in y and z (in reverse x and z), and S decays by rows.
// x, y, z [tokens, H, K]; base, w, out [tokens, H, V]; beta fp32 [tokens, H] or null (1); gate: cumulative log decay in the chunk, fp32 [tokens, H] or [tokens, H, K] by GATE;
// initial, final fp32 [N, H, K, V] (INITIAL_T, FINAL_T: [N, H, V, K]) or null; states [chunks, H, K, V].
// One workgroup a tile of COLUMNS columns (x), head (y) and sequence (z).
// @variants T=f32|f16|bf16 MM=plain|coopmat
// @exclude T=f32 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/sequences.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf x; TBuf base; TBuf y; TBuf z; TBuf w; TBuf M; F32Buf beta; F32Buf gate; F32Buf initial; F32Buf final; TBuf states; TBuf o; I32Buf packed;
    uint T; uint C; uint H; uint K; uint V; float scale;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // chunk_tiles.glsl
layout(constant_id = 10) const uint STATES = 1;            // ceil(K / 64)
layout(constant_id = 11) const uint GATE = 0;
layout(constant_id = 12) const uint FLAGS = 0;
layout(constant_id = 13) const bool FULL = false;          // widths are multiples of 64
layout(constant_id = 14) const bool WHOLE = false;         // every chunk has 64 tokens

const uint REVERSE = 1, INITIAL_T = 2, FINAL_T = 4;
const bool HAS_SECOND = (FLAGS & 8) != 0;                  // z and w are given
const bool WITH_M = (FLAGS & 16) != 0, EXCLUSIVE = (FLAGS & 32) != 0, UNIT = (FLAGS & 128) != 0;
const float SIGN = (FLAGS & 64) != 0 ? 1.0 : -1.0;

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
#define TILE_SOLID (FULL && WHOLE)
#define COLUMNS TILE_N
#ifdef MM_coopmat
// Tiles of 64 channels in one slice. A tile of x, y or z; and of S, the base, out or w: little enough shared memory for several workgroups at once.
#define ROWS 64
#define TILE_QUADS (tileQuads(64, 64) + tileQuads(64, COLUMNS) > 32 * (COLUMNS + 4) ? tileQuads(64, 64) + tileQuads(64, COLUMNS) : 32 * (COLUMNS + 4))
#define TILE_BARE
#else
// Either ROWS columns of x and ROWS rows of S; or out (w) and ROWS rows of y (z).
#define ROWS SLICE
#define QUADS_READ (tileQuads(64, ROWS) + tileQuads(ROWS, COLUMNS))
#define QUADS_WRITE (tileQuads(64, COLUMNS) + (tileQuads(ROWS, 64) > tileQuads(64, ROWS) ? tileQuads(ROWS, 64) : tileQuads(64, ROWS)))
#define TILE_QUADS (QUADS_READ > QUADS_WRITE ? QUADS_READ : QUADS_WRITE)
#endif
#define TILE_VECTOR (STATES <= 2 ? 384 : 256 + 64 * STATES)
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "delta/gates.glsl"
#include "delta/tiles.glsl"
#include "delta/save.glsl"

uint K = args.K, V = args.V, H = args.H, C = WHOLE ? 64 : args.C, head = gl_WorkGroupID.y, v0 = gl_WorkGroupID.x * COLUMNS;
const bool reverse = (FLAGS & REVERSE) != 0;
// Which of the rows' factors differ from 1.
const bool SCALES_X = UNIT || GATE == HEADS && (reverse || WITH_M), SCALES_Y = UNIT || reverse || GATE == HEADS;
// Forward with M their factors go to the rows of out, which are fewer, once it is saved. (Of narrow tiles a step is too short for two barriers more.)
#ifdef MM_coopmat
const bool SCALES_OUT = WITH_M && !reverse && SCALES_Y && COLUMNS > 32;
#else
const bool SCALES_OUT = false;
#endif

vec4 loadState(uint64_t at, uint k, uint v) {
    if ((FLAGS & INITIAL_T) == 0) return loadTail4F(atF(args.initial, at), k * V + v, k < K ? int(V) - int(v) : 0);
    vec4 s = vec4(0);
    [[unroll]] for (uint e = 0; e < 4; e++) if (k < K && v + e < V) s[e] = atF(args.initial, at).v[(v + e) * K + k];
    return s;
}

void storeState(uint64_t at, uint k, uint v, vec4 s) {
    if (k >= K) return;
    if ((FLAGS & FINAL_T) == 0) storeTail4F(atF(args.final, at), k * V + v, int(V) - int(v), s);
    else [[unroll]] for (uint e = 0; e < 4; e++) if (v + e < V) atF(args.final, at).v[(v + e) * K + k] = s[e];
}

struct Step { uint index; uint count; uint64_t token; };

Step stepAt(Span sequence, uint chunks, uint i) {
    uint index = reverse ? chunks - 1 - i : i;
    return Step(index, WHOLE ? 64 : min(C, sequence.count - index * C), uint64_t(sequence.first + index * C) * H + head);
}

// Rows of a tile that there are.
#define LIMIT (WHOLE ? EVERY_ROW : step.count)

// What an invocation holds of the next chunk, read while the products of this one run: of 64 times G (of heads, the last one's repeated), beta and 1 / |x| its share, with
// channels the decays of its rows of the state. (No address is the same for all lanes: that is read even of sequences without tokens by CPU drivers.)
const uint DECAYS = (64 * STATES + gl_WorkGroupSize.x - 1) / gl_WorkGroupSize.x;
const uint FIRST_SCALAR = GATE == HEADS ? 0 : 64, END_SCALAR = UNIT ? 192 : 128, SCALARS = (END_SCALAR - FIRST_SCALAR + gl_WorkGroupSize.x - 1) / gl_WorkGroupSize.x;
const uint BETAS = GATE == CHANNELS ? 192 + 64 * STATES : 256;
#define FETCH_GATES(step) { \
    if (WITH_M) [[unroll]] for (uint d = 0; d < SCALARS; d++) { \
        uint part = FIRST_SCALAR + lane + d * gl_WorkGroupSize.x; \
        F32Buf from = GATE == HEADS && part < 64 ? args.gate : UNIT && part >= 128 ? F32Buf(uint64_t(args.z)) : isNull(args.beta) ? F32Buf(uint64_t(args.M)) : args.beta; \
        nextScalar[d] = atF(from, step.token).v[min(part % 64, step.count - 1) * H]; \
    } \
    if (GATE == CHANNELS) { \
        [[unroll]] for (uint d = 0; d < DECAYS; d++) { \
            nextDecay[d] = atF(args.gate, step.token * K).v[(step.count - 1) * H * K + min(lane + d * gl_WorkGroupSize.x, K - 1)]; \
        } \
    } }

// Cooperative matrices: and its octs of the tiles that land next.
#ifdef MM_coopmat
const uint RUNS = TILE_RUNS(64, 64);
// x and y have registers of their own; x is read a whole chunk ahead, y as well, or WITH_M, where its rows are mostly those that x had, in its own chunk: what is read
// shortly before the end of the loop is waited for there. With a second writer, or more than two tiles, x, y and z, and the base and w, take turns in one set, each
// read while the products before it run: with more registers no two workgroups would fit a multiprocessor.
const uint SETS = HAS_SECOND ? 1 : STATES > 2 ? 1 : 2, AT_Y = (SETS - 1) * STATES * RUNS;
#define FETCH_KEYS(at, t, p, step) { \
    TBuf rows = atT(p, step.token * K); \
    TILE_FETCH(nextKeys, (at) + (t) * RUNS, 64, 64, rows, 0, (t) * 64, K, H * K, (WHOLE ? EVERY_ROW : step.count)) }
#define FETCH_VALUES(p, step) { \
    TBuf rows = atT(p, step.token * V); \
    TILE_FETCH(nextValues, 0, 64, COLUMNS, rows, 0, v0, V, H * V, (WHOLE ? EVERY_ROW : step.count)) }
#define FETCH_M { \
    TBuf rows = atT(args.M, step.token * C); \
    TILE_FETCH(nextKeys, 0, 64, 64, rows, 0, 0, C, H * C, LIMIT) }
// M takes the registers of the first tile of x between it and what is read ahead there.
#define AHEAD_XY(t) if (SETS == 1) FETCH_KEYS(AT_Y, t, args.y, step) else FETCH_KEYS(0, t, args.x, next)
#define AHEAD_X(t) { \
    if (WITH_M && t == 0) FETCH_M else AHEAD_XY(t) \
    if (WITH_M && SETS == 2) FETCH_KEYS(AT_Y, t, args.y, step) }
#define AHEAD_M if (WITH_M) AHEAD_XY(0)
#define AHEAD_BASE if (HAS_SECOND) FETCH_VALUES(args.w, step) else FETCH_VALUES(args.base, next)
#define AHEAD_Y(t) if (HAS_SECOND) FETCH_KEYS(AT_Y, t, args.z, step) else if (SETS == 1) FETCH_KEYS(0, t, args.x, next) else if (!WITH_M) FETCH_KEYS(AT_Y, t, args.y, next)
#define AHEAD_W FETCH_VALUES(args.base, next)
#define AHEAD_Z(t) FETCH_KEYS(0, t, args.x, next)
#define STAGE_X(t, p) TILE_LAND(xTile, 64, 64, nextKeys, (t) * RUNS, 0, (t) * 64, K, LIMIT)
#define STAGE_Y(t, s0) \
    if (SCALES_Y && !SCALES_OUT) TILE_LAND_SCALED(yTile, 64, 64, nextKeys, AT_Y + (t) * RUNS, 0, (t) * 64, K, LIMIT, r, tileVector[64 + r]) \
    else TILE_LAND(yTile, 64, 64, nextKeys, AT_Y + (t) * RUNS, 0, (t) * 64, K, LIMIT)
#define STAGE_Z(t, s0) TILE_LAND_SCALED(yTile, 64, 64, nextKeys, AT_Y + (t) * RUNS, 0, (t) * 64, K, LIMIT, r, tileVector[128 + r])
#define STAGE_VALUES TILE_LAND(values, 64, COLUMNS, nextValues, 0, 0, v0, V, LIMIT)
#define STAGE_W STAGE_VALUES
#define LAY(S, p) accLay(S, part)
// A subgroup's fragments of out take the places of the same fragments of the base.
#define LAY_OUT { \
    STAGE_VALUES \
    if (WITH_M) TILE_LAND(xTile, 64, 64, nextKeys, 0, 0, 0, C, LIMIT) \
    barrier(); \
    AHEAD_BASE \
    AHEAD_M \
    if (SCALES_X) { \
        accScaleRows(acc, 0) \
    } else if (!reverse) accScale(acc, SIGN) \
    accAddTile(acc, values) \
    if (WITH_M && !reverse) accScaleRows(acc, 128) \
    tileSync(); \
    accLay(acc, values) \
    if (WITH_M) { \
        barrier(); \
        accZero(acc); \
        mma(acc, Tile(xTile.at, xTile.stride, reverse), values, 64) \
        barrier(); \
        accLay(acc, values) \
    } \
    if (SCALES_OUT) { \
        barrier(); \
        SAVE_OUT \
        barrier(); \
        accScaleRows(acc, 64) \
        accLay(acc, values) \
    } }
#define STATE_SET(acc, r, c, expr) { \
    TILE_DEAL(tileI, 64 * (COLUMNS / 4)) { \
        uint r = tileI / (COLUMNS / 4), c = tileI % (COLUMNS / 4) * 4; \
        tilePutFloats(r, c, expr); \
    } \
    barrier(); \
    accCollect(acc, 0) \
    barrier(); }
Tile xTile = Tile(0, tileStride(64), false), yTile = xTile, part = Tile(tileQuads(64, 64), tileStride(COLUMNS), false), values = part;
#else
const uint SETS = 1;
#define FETCH_KEYS(at, t, p, step) {}
#define FETCH_VALUES(p, step) {}
#define AHEAD_X(t) {}
#define AHEAD_Y(t) {}
#define AHEAD_W {}
#define AHEAD_Z(t) {}
#define STAGE_X(t, p) TILE_ROWS(xTile, 64, ROWS, atT(args.x, step.token * K), 0, (t) * 64 + (p), K, H * K, step.count)
#define STAGE_Y(t, s0) TILE_SCALED_ROWS(yTile, ROWS, 64, atT(args.y, step.token * K), s0, (t) * 64, K, H * K, step.count, r, (SCALES_Y ? tileVector[64 + (s0) + r] : 1.0))
#define STAGE_Z(t, s0) TILE_SCALED_ROWS(yTile, ROWS, 64, atT(args.z, step.token * K), s0, (t) * 64, K, H * K, step.count, r, tileVector[128 + (s0) + r])
#define STAGE_W TILE_ROWS(values, 64, COLUMNS, atT(args.w, step.token * V), 0, v0, V, H * V, step.count)
#define LAY(S, p) ACC_EACH(S, r, c, s, if (r / ROWS == p / ROWS) tilePut(part, r % ROWS, c, s);)
#define LAY_OUT { \
    ACC_PUT(acc, values, r, c, s, ((WITH_M && !reverse ? tileVector[128 + r] : 1.0) * \
        (widen(rowQuad(atT(args.base, step.token * V), r, v0 + c, V, H * V, step.count)) + (SCALES_X ? tileVector[r] : reverse ? 1.0 : SIGN) * s))) \
    if (WITH_M) { \
        barrier(); \
        TBuf M = atT(args.M, step.token * C); \
        Tile columns = Tile(yTile.at, tileStride(ROWS), false); \
        accZero(acc); \
        [[dont_unroll]] for (uint s0 = 0; s0 < 64; s0 += ROWS) { \
            if (reverse) TILE_ROWS(yTile, ROWS, 64, M, s0, 0, C, H * C, step.count) \
            else TILE_ROWS(columns, 64, ROWS, M, 0, s0, C, H * C, step.count) \
            barrier(); \
            mma(acc, Tile(yTile.at, reverse ? yTile.stride : columns.stride, reverse), Tile(values.at + s0 * values.stride, values.stride, false), ROWS); \
            barrier(); \
        } \
        accLay(acc, values) \
    } }
#define STATE_SET(acc, r, c, expr) ACC_SET(acc, r, c, expr)
Tile xTile = Tile(0, tileStride(ROWS), false), yTile = Tile(tileQuads(64, COLUMNS), tileStride(64), false);
Tile part = Tile(tileQuads(64, ROWS), tileStride(COLUMNS), false), values = Tile(0, tileStride(COLUMNS), false);
#endif

#ifdef MM_coopmat
#define EACH_SLICE(s0, statements) { const uint s0 = 0; statements }
#else
#define EACH_SLICE(s0, statements) [[dont_unroll]] for (uint s0 = 0; s0 < 64; s0 += ROWS) { statements }
#endif

#define SAVE_OUT TILE_SAVE(values, 64, COLUMNS, o, r, c, r * H * V + v0 + c, (TILE_SOLID ? 8 : r < step.count ? int(V) - int(v0 + c) : 0))
// S[t] += (tile of y or z)^T values, for all tiles, ROWS tokens at a time. The registers they come from then take up what `ahead` reads.
#define WRITE(STAGE, ahead, saves) \
    EACH_TILE(t, EACH_SLICE(s0, \
        STAGE(t, s0) \
        barrier(); \
        ahead(t) \
        if (saves && t == 0 && s0 == 0) SAVE_OUT \
        mma(S[t], T(yTile), Tile(values.at + s0 * values.stride, values.stride, false), ROWS); \
        barrier();))
// tileVector: factors of rows of x S, y, and z or (WITH_M, forward) their sum with the base; from 192 on decays of the state's rows (channels) or G, then beta (BETAS) and 1 / |x|.
void rowFactors(uint lane) {
    if (lane >= 64) return;
    float toEnd = 1.0, erase = SIGN, read = args.scale;
    float beta = WITH_M && !isNull(args.beta) ? tileVector[BETAS + lane] : 1.0;
    if (GATE == HEADS) {
        float gate = tileVector[192 + lane];
        toEnd = exp(tileVector[192 + 63] - gate);
        erase *= !EXCLUSIVE ? exp(gate) : lane > 0 ? exp(tileVector[191 + lane]) : 1.0;
        read *= exp(gate);
    }
    if (UNIT) {
        toEnd *= tileVector[BETAS + 64 + lane];
        erase *= tileVector[BETAS + 64 + lane];
    }
    tileVector[lane] = reverse ? toEnd : erase;
    tileVector[64 + lane] = reverse ? beta * erase : toEnd;
    tileVector[128 + lane] = WITH_M && !reverse ? beta : reverse ? read : args.scale;
}

void main() {
    uint n = gl_WorkGroupID.z, lane = gl_LocalInvocationIndex;
    Span sequence = sequenceSpan(args.packed, n, args.T);
    uint chunks = (sequence.count + C - 1) / C;
    uint first = firstChunk(args.packed, gl_NumWorkGroups.z, n, args.T, C);
    uint64_t corner = (uint64_t(n) * H + head) * K * V;
    float nextScalar[SCALARS], nextDecay[DECAYS];
#ifdef MM_coopmat
    TILE_AHEAD(nextKeys, SETS * STATES, 64, 64)
    TILE_AHEAD(nextValues, 1, 64, COLUMNS)
#endif

    Acc S[STATES];
    EACH_TILE(t, accZero(S[t]);)
    if (!isNull(args.initial)) {
        [[dont_unroll]] for (uint place = 0; place < STATES; place++) {
            Acc s;
            STATE_SET(s, r, c, loadState(corner, place * 64 + r, v0 + c))
            EACH_TILE(t, if (t == place) accAdd(S[t], s);)
        }
    }
    if (chunks > 0) {
        Step begin = stepAt(sequence, chunks, 0);
        FETCH_GATES(begin)
        EACH_TILE(t, FETCH_KEYS(0, t, args.x, begin))
        FETCH_VALUES(args.base, begin)
        if (SETS == 2 && !WITH_M) EACH_TILE(t, FETCH_KEYS(AT_Y, t, args.y, begin))
    }
    [[dont_unroll]] for (uint i = 0; i < chunks; i++) {
        Step step = stepAt(sequence, chunks, i), next = stepAt(sequence, chunks, min(i + 1, chunks - 1));

        if (WITH_M) [[unroll]] for (uint d = 0; d < SCALARS; d++) {
            uint part = FIRST_SCALAR + lane + d * gl_WorkGroupSize.x;
            if (part < END_SCALAR) tileVector[BETAS - 64 + part] = nextScalar[d];
        }
        if (GATE == CHANNELS) {
            [[unroll]] for (uint d = 0; d < DECAYS; d++) {
                uint c = lane + d * gl_WorkGroupSize.x;
                if (c < 64 * STATES) tileVector[192 + c] = exp(nextDecay[d]);
            }
        }
        FETCH_GATES(next)

        TBuf states = atT(args.states, (uint64_t(first + step.index) * H + head) * K * V);
        Acc acc;
        accZero(acc);
        EACH_TILE(t, EACH_SLICE(p,
            STAGE_X(t, p)
            LAY(S[t], p)
            barrier();
            AHEAD_X(t)
            if (t == 0 && p == 0) rowFactors(lane);
            uint k0 = t * 64 + p;
            TILE_SAVE(part, ROWS, COLUMNS, states, r, c, (k0 + r) * V + v0 + c, (TILE_SOLID ? 8 : k0 + r < K ? int(V) - int(v0 + c) : 0))
            mma(acc, xTile, part, ROWS);
            barrier();))
        TBuf o = atT(args.o, step.token * V);
        LAY_OUT
        EACH_TILE(t,
            if (GATE == CHANNELS) {
                accScaleRows(S[t], 192 + 64 * t);
            } else if (GATE == HEADS) {
                accScale(S[t], exp(tileVector[192 + 63]));
            })
        WRITE(STAGE_Y, AHEAD_Y, !SCALES_OUT)
        if (HAS_SECOND) {
            STAGE_W
            AHEAD_W
            WRITE(STAGE_Z, AHEAD_Z, false)
        }
    }
    if (isNull(args.final)) return;
    [[dont_unroll]] for (uint place = 0; place < STATES; place++) {
        Acc s;
        accZero(s);
        EACH_TILE(t, if (t == place) accAdd(s, S[t]);)
        EACH_QUAD(s, 0, j, r, c, x, storeState(corner, place * 64 + r, v0 + c, x);)
    }
}
