// Gradients through the WY form (delta_state.comp: V~ = M beta (v + sign e^{Ga} a h), sign = -1) to v, beta, a, k and the gate. With X = M^T dV~, the
// gradient of what M multiplies:
//   dv = beta X; z = sign e^{Ga} X h^T + ..; da = beta z; dbeta = v . X + a . z; dA = sign stril(X V~^T)
// since M^T (dV~ v'^T) diag(beta) M^T with v' = v + sign (e^{Ga} a) h is X (M beta v')^T, and M beta v' is V~.
// With a gate of heads or none the products of tokens follow, with P_rs = dA_rs e^{Ga_r - G_s}: z_r += sum_s P_rs k_s, dk_s += sum_r P_rs beta_r a_r;
// and the sums of a da over channels are added to dRows (gradients of Ga), those of k dk to dColumns (of -G).
// In plain arithmetic; over cooperative matrices gradients.comp does this and more, under a gate of channels chunk_scores_backward.comp and chunk_gradients.comp.
// X, values (V~), v, dv [tokens, H, V]; states (h entering each chunk) [chunks, H, K, V]; a, k, da, dk [tokens, H, K];
// with SAME (a is k) da is null; dk is added to. beta, dBeta, dRows, dColumns fp32 [tokens, H].
// One workgroup a chunk (x) and head (y).
// @variants T=f32|f16|bf16 MM=plain
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/sequences.glsl"

layout(buffer_reference, scalar, buffer_reference_align = 8) buffer Args {
    TBuf X; TBuf values; TBuf states; TBuf a; TBuf k; TBuf v; F32Buf beta; F32Buf gate;
    TBuf dv; TBuf da; TBuf dk; F32Buf dBeta; F32Buf dRows; F32Buf dColumns; I32Buf packed;
    uint N; uint T; uint C; uint H; uint K; uint V;
};
layout(push_constant, scalar) uniform Arguments { Args args; };

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // chunk_tiles.glsl
layout(constant_id = 10) const uint GATE = 0;
layout(constant_id = 11) const bool EXCLUSIVE = false;
layout(constant_id = 12) const bool SAME = false;
layout(constant_id = 13) const uint STATES = 1;            // ceil(K / 64)
layout(constant_id = 14) const bool WHOLE = false;         // every chunk has 64 tokens

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
// A 64 x 64 factor and a slice of the other.
#define OPERAND (tileQuads(64, SLICE) > tileQuads(SLICE, 64) ? tileQuads(64, SLICE) : tileQuads(SLICE, 64))
#define TILE_QUADS (tileQuads(64, 64) + OPERAND)
#define TILE_VECTOR 320
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "delta/gates.glsl"
#include "delta/tiles.glsl"
#include "delta/save.glsl"

uint K = args.K, V = args.V, H = args.H, C = WHOLE ? 64 : args.C, head = gl_WorkGroupID.y;

vec4 strictLower(uint r, uint c, vec4 x) { return mix(vec4(0), x, lessThan(uvec4(c, c + 1, c + 2, c + 3), uvec4(r))); }

// P from dA.
vec4 gatedLower(uint r, uint c, vec4 x, uint count) {
    vec4 y = vec4(0);
    [[unroll]] for (uint e = 0; e < 4; e++) {
        if (c + e < r && r < count) y[e] = x[e] * (GATE == HEADS ? exp(tileVector[128 + r] - tileVector[64 + c + e]) : 1.0);
    }
    return y;
}

// Sums over a row's elements, for row `lane`: an invocation's shares by the places of its quads are put into the pool, which a barrier has freed.
const uint PARTS = 16;
#define EACH_SHARE(j, r, part, statements) if (accActive()) { \
    [[unroll]] for (uint j = 0; j < PER_M * PER_N; j++) { uint r = accRow(j / PER_N), part = accColumn(j % PER_N) / 4; statements } }
#define ROW_SUMS(sum, shares) { \
    EACH_SHARE(j, r, part, tilePutFloat(r * (PARTS + 1) + part, shares[j]);) \
    barrier(); \
    if (lane < 64) for (uint part = 0; part < PARTS; part++) sum += tileGetFloat(lane * (PARTS + 1) + part); \
    barrier(); }

// Slices of 64 columns, rows of 64.
Tile F = Tile(0, tileStride(64), false), products = F;
Tile columns = Tile(tileQuads(64, 64), tileStride(SLICE), false), rows = Tile(tileQuads(64, 64), tileStride(64), false);
Tile columnsOf(Tile t, uint c) { return Tile(t.at + c / 4, t.stride, false); }
Tile rowsOf(Tile t, uint r) { return Tile(t.at + r * t.stride, t.stride, false); }
#define SAVE_X EACH_QUAD(P, 0, j, r, c, unused, \
    vec4 x = tileGet(F, r, c); \
    storeTail4T(dv, r * H * V + v0 + c, r < count ? int(V) - int(v0 + c) : 0, tileVector[r] * x); \
    if (wantsBeta) dBetas[j] += dot(x, widen(rowQuad(rowsV, r, v0 + c, V, H * V, count)));)
// acc += F times the transpose of rows r0.. of an array, below `limit`.
#define TIMES_ROWS(acc, p, r0, stride, limit) \
    [[dont_unroll]] for (uint s = 0; s < 64; s += SLICE) { \
        TILE_ROWS(columns, 64, SLICE, p, r0, v0 + s, V, stride, limit) \
        barrier(); \
        mma(acc, columnsOf(F, s), T(columns), SLICE); \
        barrier(); \
    }
#define ERASED(t, j, r, c) widen(rowQuad(rowsA, r, c, K, H * K, count))
#define KEY(t, j, r, c) widen(rowQuad(rowsK, r, c, K, H * K, count))
#define GRADIENT(t, j, r, c) widen(rowQuad(dk, r, c, K, H * K, count))
#define TIMES_KEYS(t) \
    [[dont_unroll]] for (uint s0 = 0; s0 < count; s0 += SLICE) { \
        TILE_ROWS(rows, SLICE, 64, rowsK, s0, (t) * 64, K, H * K, count) \
        barrier(); \
        mma(Y[t], columnsOf(F, s0), rows, SLICE); \
        barrier(); \
        TILE_SCALED_ROWS(rows, SLICE, 64, rowsA, s0, (t) * 64, K, H * K, count, r, tileVector[s0 + r]) \
        barrier(); \
        mma(y, T(rowsOf(F, s0)), rows, SLICE); \
        barrier(); \
    }
#define SAVE_GRADIENT(p, t, quads) { \
    TBuf gradient = atT(p, token * K); \
    ACC_EACH(y, r, c, s, storeTail4T(gradient, r * H * K + (t) * 64 + c, r < count ? int(K) - int((t) * 64 + c) : 0, quads[tileF]);) }

void main() {
    Chunk chunk = chunkAt(WHOLE ? I32Buf(0ul) : args.packed, args.N, gl_WorkGroupID.x, args.T, C);
    if (chunk.sequence < 0) return;
    uint count = WHOLE ? 64 : chunk.tokens.count, lane = gl_LocalInvocationIndex;
    uint64_t token = uint64_t(chunk.tokens.first) * H + head;
    TBuf rowsX = atT(args.X, token * V), rowsO = atT(args.values, token * V), rowsV = atT(args.v, token * V);
    TBuf rowsA = atT(args.a, token * K), rowsK = atT(args.k, token * K), dv = atT(args.dv, token * V), dk = atT(args.dk, token * K);
    TBuf states = atT(args.states, (uint64_t(gl_WorkGroupID.x) * H + head) * K * V);
    F32Buf gates = atF(args.gate, token);
    bool wantsBeta = !isNull(args.dBeta);
    const float sign = -1;

    // tileVector: beta, G, Ga and sign e^{Ga} of the chunk's tokens.
    if (lane < 64) {
        uint r = min(lane, count - 1);
        float factor = sign;
        if (GATE == HEADS) {
            tileVector[64 + lane] = gates.v[r * H];
            tileVector[128 + lane] = EXCLUSIVE ? (r == 0 ? 0.0 : gates.v[(max(r, 1) - 1) * H]) : gates.v[r * H];
            factor *= exp(tileVector[128 + lane]);
        }
        tileVector[lane] = isNull(args.beta) ? 1.0 : atF(args.beta, token).v[r * H];
        tileVector[192 + lane] = factor;
    }
    float dBetas[QUADS_EACH], dReads[QUADS_EACH], dWrites[QUADS_EACH];
    [[unroll]] for (uint j = 0; j < QUADS_EACH; j++) dBetas[j] = dReads[j] = dWrites[j] = 0;

    // 64 columns of X at a time.
    Acc P, Y[STATES];
    accZero(P);
    EACH_TILE(t, accZero(Y[t]);)
    [[dont_unroll]] for (uint v0 = 0; v0 < V; v0 += 64) {
        TILE_ROWS(F, 64, 64, rowsX, 0, v0, V, H * V, count)
        barrier();
        SAVE_X
        TIMES_ROWS(P, rowsO, 0, H * V, count)
        EACH_TILE(t, TIMES_ROWS(Y[t], states, t * 64, V, K))
    }

    accScale(P, sign);
    EACH_QUAD(P, 0, j, r, c, x, tilePut(products, r, c, gatedLower(r, c, x, count));)
    EACH_TILE(t,
        Acc y;
        accZero(y);
        accScaleRows(Y[t], 192);
        TIMES_KEYS(t)
        vec4 erased[QUADS_EACH];
        EACH_QUAD(Y[t], 0, j, r, c, x,
            float share = dot(x, ERASED(t, j, r, t * 64 + c));
            dBetas[j] += share;
            dReads[j] += share;
            erased[j] = tileVector[r] * x;)
        if (!SAME) SAVE_GRADIENT(args.da, t, erased)
        EACH_QUAD(y, 0, j, r, c, x,
            if (GATE == HEADS) dWrites[j] += dot(x, KEY(t, j, r, t * 64 + c));
            erased[j] = x + (SAME ? erased[j] : vec4(0)) + GRADIENT(t, j, r, t * 64 + c);)
        SAVE_GRADIENT(args.dk, t, erased))

    float dBeta = 0;
    float dRow = 0;
    float dColumn = 0;
    if (wantsBeta) ROW_SUMS(dBeta, dBetas)
    if (wantsBeta && lane < count) atF(args.dBeta, token).v[lane * H] = dBeta;
    if (GATE != HEADS || isNull(args.dRows)) return;
    ROW_SUMS(dRow, dReads)
    ROW_SUMS(dColumn, dWrites)
    // G_{r-1} belongs to the token before; that of the first token is a constant.
    if (lane < 64) tileVector[256 + lane] = tileVector[lane] * dRow;
    barrier();
    if (lane >= count) return;
    atF(args.dRows, token).v[lane * H] += !EXCLUSIVE ? tileVector[256 + lane] : lane + 1 < count ? tileVector[257 + lane] : 0.0;
    atF(args.dColumns, token).v[lane * H] += dColumn;
}
