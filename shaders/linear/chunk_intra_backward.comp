// AINTRA backward: dq_r = sum over s <= r of dA_rs e^{G_r - G_s} k_s and dk_s = sum over r >= s of dA_rs e^{G_r - G_s} q_r, channel by channel.
// Level by level as chunk_intra.comp: with f the level's factors and X its tile (f q for rows, f k for columns), f_i (W X)_i is dq of rows and
// dk of columns at once, W_rs = W_sr = dA_rs for the level's pairs. The diagonal adds dA_rr k_r and dA_rr q_r.
// EXCLUSIVE: rows are gated by G_{r-1}, and there is no diagonal. ADD: dq and dk are added to.
// q, k [tokens, H, K]; gate: G fp32 [tokens, H, K]; dA fp32 [tokens, H, C]; dq, dk fp32 [tokens, H, K].
// One workgroup a chunk and tile of 64 channels (x) and head (y).
// @variants T=f32|f16|bf16 MM=plain|coopmat
// @exclude T=f32 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/sequences.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf q; TBuf k; F32Buf gate; F32Buf dA; F32Buf dq; F32Buf dk; I32Buf packed;
    uint N; uint T; uint C; uint H; uint K;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // chunk_tiles.glsl
layout(constant_id = 10) const bool EXCLUSIVE = false;
layout(constant_id = 11) const bool ADD = false;

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
#define TILE_QUADS (tileQuads(64, 64) + tileQuads(SLICE, 64))
#define TILE_VECTOR 128
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "linear/levels.glsl"

uint K = args.K, H = args.H, k0;

// Four elements of W from (r, c) on.
vec4 levelWeights(F32Buf dA, uint r, uint c, uint width, uint count) {
    vec4 w = vec4(0);
    [[unroll]] for (uint e = 0; e < 4; e++) {
        uint s = c + e;
        if (max(r, s) < count && isLevelPair(max(r, s), min(r, s), width)) w[e] = dA.v[max(r, s) * H * args.C + min(r, s)];
    }
    return w;
}

void storeGradient(F32Buf d, TBuf other, F32Buf dA, uint r, uint c, vec4 x, uint count) {
    if (r >= count) return;
    if (!EXCLUSIVE) x += dA.v[r * (H * args.C + 1)] * widen(rowQuad(other, r, k0 + c, K, H * K, count));
    if (ADD) x += rowQuadF(d, r, k0 + c, K, H * K, count);
    storeTail4F(d, r * H * K + k0 + c, int(K) - int(k0 + c), x);
}

void main() {
    uint tiles = (K + 63) / 64;
    k0 = gl_WorkGroupID.x % tiles * 64;
    Chunk chunk = chunkAt(args.packed, args.N, gl_WorkGroupID.x / tiles, args.T, args.C);
    if (chunk.sequence < 0) return;
    uint head = gl_WorkGroupID.y, count = chunk.tokens.count, lane = gl_LocalInvocationIndex;
    uint64_t token = uint64_t(chunk.tokens.first) * H + head;
    TBuf rowsQ = atT(args.q, token * K), rowsK = atT(args.k, token * K);
    F32Buf gates = atF(args.gate, token * K), dA = atF(args.dA, token * args.C);
    Tile W = Tile(0, tileStride(64), false), x = Tile(tileQuads(64, 64), tileStride(64), false);

    Acc sumQ, sumK;
    accZero(sumQ);
    accZero(sumK);
    [[dont_unroll]] for (uint width = args.C / 2; width > 0; width /= 2) {
        if (lane < 64) {
            tileVector[lane] = isUpper(lane, width) ? 1.0 : 0.0;
            tileVector[64 + lane] = isUpper(lane, width) ? 0.0 : 1.0;
        }
        TILE_STAGE(W, 64, 64, r, c, levelWeights(dA, r, c, width, count))
        Acc y;
        accZero(y);
        [[dont_unroll]] for (uint s0 = 0; s0 < count; s0 += SLICE) {
            TILE_STAGE(x, SLICE, 64, i, c, (s0 + i < count && levelReference(s0 + i, width) < count
                ? widen(isUpper(s0 + i, width) ? rowQuad(rowsQ, s0 + i, k0 + c, K, H * K, count) : rowQuad(rowsK, s0 + i, k0 + c, K, H * K, count))
                    * levelFactor(gates, s0 + i, k0 + c, width, K, H * K, count, EXCLUSIVE)
                : vec4(0)))
            barrier();
            mma(y, Tile(W.at + s0 / 4, W.stride, false), x, SLICE);
            barrier();
        }
        ACC_MAP(y, r, c, v, (r < count && levelReference(r, width) < count ? v * levelFactor(gates, r, k0 + c, width, K, H * K, count, EXCLUSIVE) : vec4(0)))
        Acc rows;
        accZero(rows);
        accAdd(rows, y);
        accScaleRows(rows, 0);
        accAdd(sumQ, rows);
        accScaleRows(y, 64);
        accAdd(sumK, y);
        barrier();
    }
    F32Buf dq = atF(args.dq, token * K), dk = atF(args.dk, token * K);
    ACC_EACH(sumQ, r, c, v, storeGradient(dq, rowsK, dA, r, c, v, count);)
    ACC_EACH(sumK, r, c, v, storeGradient(dk, rowsQ, dA, r, c, v, count);)
}
