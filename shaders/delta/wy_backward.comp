// Gradients through the WY form (wy.comp): from dU = dV~ and dW = sign dV~ h^T, sign = -1, to v, beta, a, k and the gate.
//   X = M^T dU, Y = M^T dW: dv = beta X; da = beta e^{Ga} Y + ..
//   N = dU v^T + dW (e^{Ga} a)^T; dbeta = diag(M^T N) + ..; dA = sign stril(M^T N diag(beta) M^T)
// (What N has above the diagonal stays there: M is lower triangular.)
// With a gate of heads or none the products of tokens follow, with P_rs = dA_rs e^{Ga_r - G_s}: da_r += beta_r sum_s P_rs k_s, dk_s += sum_r P_rs beta_r a_r,
// dbeta_r += a_r . sum_s P_rs k_s; and the sums of a da over channels (dRows, gradients of Ga) and of k dk (dColumns, of -G).
// With a gate of channels they are chunk_intra_backward.comp's: dA fp32, times beta_r, is stored for it, zero from the diagonal on, and da is its first part
// in fp32. dbeta_r += sum_s dA_rs scores_rs.
// SECOND (generalized rule, sign = 1): U = M second v, so Z = stril(dU v^T), dSecond = stril(M^T Z), N = Z second^T + dW (e^{Ga} a)^T, no dv here.
// M [tokens, H, C]; dU, v, dv [tokens, H, V]; states (h entering each chunk) [chunks, H, K, V]; a, k, da, dk [tokens, H, K]; da of HEADS in T, with SAME
// (a is k) null; dk is added to. beta, dBeta, dRows, dColumns fp32 [tokens, H]; scores, second, dA, dSecond fp32 [tokens, H, C].
// One workgroup a chunk (x) and head (y).
// @variants T=f32|f16|bf16 MM=plain|coopmat
// @exclude T=f32 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/sequences.glsl"

layout(buffer_reference, scalar, buffer_reference_align = 8) buffer Args {
    TBuf M; TBuf dU; TBuf states; TBuf a; TBuf k; TBuf v; F32Buf beta; F32Buf gate; F32Buf scores; F32Buf second;
    TBuf dv; F32Buf da; TBuf dk; F32Buf dBeta; F32Buf dRows; F32Buf dColumns; F32Buf dA; F32Buf dSecond; I32Buf packed;
    uint N; uint T; uint C; uint H; uint K; uint V; float sign;
};
layout(push_constant, scalar) uniform Arguments { Args args; };

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // chunk_tiles.glsl
layout(constant_id = 10) const uint GATE = 0;
layout(constant_id = 11) const bool EXCLUSIVE = false;
layout(constant_id = 12) const bool SAME = false;
layout(constant_id = 13) const bool SECOND = false;

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
// Either a 64 x 64 factor and a slice of the other, or two slices; behind them all of M where slices are whole tiles.
#define OPERAND (tileQuads(64, SLICE) > tileQuads(SLICE, 64) ? tileQuads(64, SLICE) : tileQuads(SLICE, 64))
#define QUADS_PAIR (2 * tileQuads(64, SLICE))
#define QUADS_FACTOR (tileQuads(64, 64) + OPERAND)
#define QUADS_SLICES (QUADS_PAIR > QUADS_FACTOR ? QUADS_PAIR : QUADS_FACTOR)
#define TILE_QUADS (QUADS_SLICES + (SLICE == 64 ? tileQuads(64, 64) : 0))
#define TILE_VECTOR 320
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "delta/gates.glsl"
#include "delta/save.glsl"

uint K = args.K, V = args.V, H = args.H, C = args.C, head = gl_WorkGroupID.y;
Tile F = Tile(0, tileStride(64), false);
Tile columns = Tile(tileQuads(64, 64), tileStride(SLICE), false), rows = Tile(tileQuads(64, 64), tileStride(64), false);
Tile left = Tile(0, tileStride(SLICE), false), right = Tile(tileQuads(64, SLICE), tileStride(SLICE), false);

Tile M = Tile(QUADS_SLICES, tileStride(64), false);

Tile columnsOf(Tile t, uint c) { return Tile(t.at + c / 4, t.stride, false); }
Tile rowsOf(Tile t, uint r) { return Tile(t.at + r * t.stride, t.stride, false); }

vec4 strictLower(uint r, uint c, vec4 x) { return mix(vec4(0), x, lessThan(uvec4(c, c + 1, c + 2, c + 3), uvec4(r))); }

// P from dA.
vec4 gatedLower(uint r, uint c, vec4 x, uint count) {
    vec4 y = vec4(0);
    [[unroll]] for (uint e = 0; e < 4; e++) {
        if (c + e < r && r < count) y[e] = args.sign * x[e] * (GATE == HEADS ? exp(tileVector[128 + r] - tileVector[64 + c + e]) : 1.0);
    }
    return y;
}

// sum += the row sums of expr over a 64 x 64 accumulator, for row `lane`; 16 partial sums a row behind the factor.
#ifdef MM_coopmat
#define PARTIAL (2 * tileQuads(64, 64))
#else
#define PARTIAL (4 * tileQuads(64, 64))
#endif
#define ADD_ROW_SUMS(sum, acc, r, c, x, expr) { \
    ACC_EACH(acc, r, c, x, tilePutFloat(PARTIAL + r * 17 + c / 4, expr);) \
    barrier(); \
    if (lane < 64) for (uint part = 0; part < 16; part++) sum += tileGetFloat(PARTIAL + lane * 17 + part); \
    barrier(); }

// acc += M^T F, which was written since the last barrier.
#define ADD_TRANSPOSED(acc) \
    [[dont_unroll]] for (uint m0 = 0; m0 < count; m0 += SLICE) { \
        if (SLICE < 64) TILE_ROWS(rows, SLICE, 64, rowsM, m0, 0, C, H * C, count) \
        barrier(); \
        mma(acc, T(SLICE < 64 ? rows : M), rowsOf(F, m0), SLICE); \
        barrier(); \
    }

// 64 columns added to a gradient, through the rows' place where that is a whole tile.
#define ADD(acc, p) { \
    if (SLICE == 64) { \
        accLay(acc, rows) \
        barrier(); \
        TILE_ADD(rows, 64, 64, p, r, c, r * H * K + k0 + c, r < count ? int(K) - int(k0 + c) : 0) \
        barrier(); \
    } else { \
        ACC_STORE(acc, p, r, c, r * H * K + k0 + c, (r < count ? int(K) - int(k0 + c) : 0), s, s + widen(rowQuad(p, r, k0 + c, K, H * K, count))) \
    } }

void main() {
    Chunk chunk = chunkAt(args.packed, args.N, gl_WorkGroupID.x, args.T, C);
    if (chunk.sequence < 0) return;
    uint count = chunk.tokens.count, lane = gl_LocalInvocationIndex;
    uint64_t token = uint64_t(chunk.tokens.first) * H + head;
    TBuf rowsM = atT(args.M, token * C), rowsU = atT(args.dU, token * V), rowsV = atT(args.v, token * V);
    TBuf rowsA = atT(args.a, token * K), rowsK = atT(args.k, token * K);
    TBuf states = atT(args.states, (uint64_t(gl_WorkGroupID.x) * H + head) * K * V);
    F32Buf gates = atF(args.gate, token * (GATE == CHANNELS ? K : 1));

    // tileVector: beta, G, Ga and e^{Ga} of the chunk's tokens.
    if (lane < 64) {
        uint r = min(lane, count - 1);
        float factor = 1;
        if (GATE == HEADS) {
            tileVector[64 + lane] = gates.v[r * H];
            tileVector[128 + lane] = EXCLUSIVE ? (r == 0 ? 0.0 : gates.v[(max(r, 1) - 1) * H]) : gates.v[r * H];
            factor = exp(tileVector[128 + lane]);
        }
        tileVector[lane] = isNull(args.beta) ? 1.0 : atF(args.beta, token).v[r * H];
        tileVector[192 + lane] = factor;
    }
    if (SLICE == 64) TILE_ROWS(M, 64, 64, rowsM, 0, 0, C, H * C, count)
    bool wantsBeta = !isNull(args.dBeta);
    float dBeta = 0, dRow = 0, dColumn = 0;
    Acc N;
    accZero(N);

    // dU: its products with v, and X.
    [[dont_unroll]] for (uint v0 = 0; v0 < V; v0 += 64) {
        TILE_ROWS(F, 64, 64, rowsU, 0, v0, V, H * V, count)
        [[dont_unroll]] for (uint s = 0; s < 64; s += SLICE) {
            TILE_ROWS(columns, 64, SLICE, rowsV, 0, v0 + s, V, H * V, count)
            barrier();
            mma(N, columnsOf(F, s), T(columns), SLICE);
            barrier();
        }
        if (!SECOND) {
            Acc x;
            accZero(x);
            ADD_TRANSPOSED(x)
            TBuf dv = atT(args.dv, token * V);
            accScaleRows(x, 0);
            accLay(x, F)
            barrier();
            TILE_SAVE(F, 64, 64, dv, r, c, r * H * V + v0 + c, r < count ? int(V) - int(v0 + c) : 0)
            barrier();
        }
    }
    if (SECOND) {
        ACC_PUT(N, F, r, c, x, strictLower(r, c, x))
        accZero(N);
        F32Buf second = atF(args.second, token * C), dSecond = atF(args.dSecond, token * C);
        [[dont_unroll]] for (uint s = 0; s < C; s += SLICE) {
            TILE_STAGE(columns, 64, SLICE, r, c, (r < count && s + c < C ? strictLower(r, s + c, load4F(second, r * H * C + s + c)) : vec4(0)))
            barrier();
            mma(N, columnsOf(F, s), T(columns), SLICE);
            barrier();
        }
        Acc x;
        accZero(x);
        ADD_TRANSPOSED(x)
        ACC_EACH(x, r, c, s, if (r < count && c < C) store4F(dSecond, r * H * C + c, strictLower(r, c, s));)
    }

    // dW, 64 channels at a time: its products with a, and Y.
    [[dont_unroll]] for (uint k0 = 0; k0 < K; k0 += 64) {
        Acc dW;
        accZero(dW);
        [[dont_unroll]] for (uint v0 = 0; v0 < V; v0 += SLICE) {
            TILE_ROWS(left, 64, SLICE, rowsU, 0, v0, V, H * V, count)
            TILE_ROWS(right, 64, SLICE, states, k0, v0, V, V, K)
            barrier();
            mma(dW, left, T(right), SLICE);
            barrier();
        }
        accScale(dW, args.sign);
        accLay(dW, F)
        [[dont_unroll]] for (uint s = 0; s < 64; s += SLICE) {
            if (GATE == CHANNELS) {
                TILE_STAGE(columns, 64, SLICE, r, c, (r < count
                    ? widen(rowQuad(rowsA, r, k0 + s + c, K, H * K, count)) * entryFactor(gates, r, k0 + s + c, K, H * K, count, EXCLUSIVE)
                    : vec4(0)))
            } else if (GATE == HEADS) {
                TILE_SCALED_ROWS(columns, 64, SLICE, rowsA, 0, k0 + s, K, H * K, count, r, tileVector[192 + r])
            } else {
                TILE_ROWS(columns, 64, SLICE, rowsA, 0, k0 + s, K, H * K, count)
            }
            barrier();
            mma(N, columnsOf(F, s), T(columns), SLICE);
            barrier();
        }
        Acc y;
        accZero(y);
        ADD_TRANSPOSED(y)
        if (GATE == CHANNELS) {
            F32Buf da = atF(args.da, token * K);
            ACC_EACH(y, r, c, x, if (r < count) {
                storeTail4F(da, r * H * K + k0 + c, int(K) - int(k0 + c), tileVector[r] * x * entryFactor(gates, r, k0 + c, K, H * K, count, EXCLUSIVE));
            })
        } else {
            TBuf da = atT(SAME ? args.dk : TBuf(uint64_t(args.da)), token * K);
            accScaleRows(y, 0);
            if (GATE == HEADS) {
                accScaleRows(y, 192);
                ADD_ROW_SUMS(dRow, y, r, c, x, dot(x, widen(rowQuad(rowsA, r, k0 + c, K, H * K, count))))
            }
            accLay(y, F)
            barrier();
            if (SAME) TILE_ADD(F, 64, 64, da, r, c, r * H * K + k0 + c, r < count ? int(K) - int(k0 + c) : 0)
            else TILE_SAVE(F, 64, 64, da, r, c, r * H * K + k0 + c, r < count ? int(K) - int(k0 + c) : 0)
            barrier();
        }
    }

    // dA.
    accLay(N, F)
    Acc product;
    accZero(product);
    ADD_TRANSPOSED(product)
    if (wantsBeta) {
        ACC_EACH(product, r, c, x, if (r / 4 == c / 4) tileVector[256 + r] = x[r % 4];)
        barrier();
        dBeta = tileVector[256 + lane % 64];
    }
    accScaleColumns(product, 0);
    accLay(product, F)
    accZero(product);
    [[dont_unroll]] for (uint m0 = 0; m0 < C; m0 += SLICE) {
        if (SLICE < 64) TILE_ROWS(columns, 64, SLICE, rowsM, 0, m0, C, H * C, count)
        barrier();
        mma(product, columnsOf(F, m0), T(SLICE < 64 ? columns : M), SLICE);
        barrier();
    }
    if (GATE == CHANNELS) {
        F32Buf dA = atF(args.dA, token * C);
        ACC_MAP(product, r, c, x, args.sign * strictLower(r, c, x))
        ACC_EACH(product, r, c, x, if (r < count && c < C) store4F(dA, r * H * C + c, tileVector[r] * x);)
        if (wantsBeta) {
            F32Buf scores = atF(args.scores, token * C);
            ADD_ROW_SUMS(dBeta, product, r, c, x, (r < count && c < C ? dot(x, strictLower(r, c, load4F(scores, r * H * C + c))) : 0.0))
        }
    } else {
        ACC_PUT(product, F, r, c, x, gatedLower(r, c, x, count))
        TBuf dk = atT(args.dk, token * K), da = atT(TBuf(uint64_t(args.da)), token * K);
        [[dont_unroll]] for (uint k0 = 0; k0 < K; k0 += 64) {
            Acc x, y;
            accZero(x);
            accZero(y);
            [[dont_unroll]] for (uint s0 = 0; s0 < count; s0 += SLICE) {
                TILE_ROWS(rows, SLICE, 64, rowsK, s0, k0, K, H * K, count)
                if (SLICE < 64) {
                    barrier();
                    mma(x, columnsOf(F, s0), rows, SLICE);
                    barrier();
                }
                Tile erased = rows;
                if (SLICE == 64) erased = M;                   // which is needed no more
                TILE_SCALED_ROWS(erased, SLICE, 64, rowsA, s0, k0, K, H * K, count, r, tileVector[s0 + r])
                barrier();
                if (SLICE == 64) mma(x, F, rows, SLICE);
                mma(y, T(rowsOf(F, s0)), erased, SLICE);
                barrier();
            }
            if (GATE == HEADS || wantsBeta) {
                float dots = 0;
                ADD_ROW_SUMS(dots, x, r, c, s, dot(s, widen(rowQuad(rowsA, r, k0 + c, K, H * K, count))))
                dBeta += dots;
                dRow += tileVector[lane % 64] * dots;
            }
            if (GATE == HEADS) ADD_ROW_SUMS(dColumn, y, r, c, s, dot(s, widen(rowQuad(rowsK, r, k0 + c, K, H * K, count))))
            accScaleRows(x, 0);
            if (SAME) {
                accAdd(y, x);
            } else {
                ADD(x, da)
            }
            ADD(y, dk)
        }
    }

    if (wantsBeta && lane < count) atF(args.dBeta, token).v[lane * H] = dBeta;
    if (GATE != HEADS || isNull(args.dRows)) return;
    // G_{r-1} belongs to the token before; that of the first token is a constant.
    if (lane < 64) tileVector[256 + lane] = dRow;
    barrier();
    if (lane >= count) return;
    atF(args.dRows, token).v[lane * H] = !EXCLUSIVE ? dRow : lane + 1 < count ? tileVector[257 + lane] : 0.0;
    atF(args.dColumns, token).v[lane * H] = dColumn;
}
