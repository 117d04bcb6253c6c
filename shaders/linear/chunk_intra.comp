// AINTRA: products of tokens within a chunk, A_rs = scale sum over d of a_rd b_sd e^{G_rd - G_sd} for s <= r.
// e^{-G_s} alone would overflow, so pairs are taken level by level: for W = C/2, C/4 .. 1, rows r in the upper and s in the lower half of a block
// of 2W tokens. With rho = G of the token before the upper half both G_r - rho and rho - G_s are at most 0, and as a token is
// either a row or a column of its level, one tile X (a_r e^{G_r - rho} or b_s e^{rho - G_s}) gives the level as X X^T. The diagonal is a . b.
// EXCLUSIVE: a_r is gated by G_{r-1} instead, and A is meant for s < r.
// Without GATED: A = scale a b^T, the same triangle.
// a, b [tokens, H, K]; gate: G, cumulative log decay in the chunk, fp32 [tokens, H, K]; A fp32 [tokens, H, C], written for s <= r.
// One workgroup a chunk (x) and head (y).
// @variants T=f32|f16|bf16 MM=plain|coopmat
// @exclude T=f32 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/sequences.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf a; TBuf b; F32Buf gate; F32Buf A; I32Buf packed;
    uint N; uint T; uint C; uint H; uint K; float scale;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // chunk_tiles.glsl
layout(constant_id = 10) const bool GATED = true;
layout(constant_id = 11) const bool EXCLUSIVE = false;

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
#define TILE_QUADS (2 * tileQuads(64, SLICE))
#define TILE_VECTOR 256
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "linear/levels.glsl"

uint K = args.K, H = args.H;

void storeRow(F32Buf A, uint r, uint c, vec4 x, uint width, uint count) {
    [[unroll]] for (uint e = 0; e < 4; e++) {
        bool isMine = GATED ? isLevelPair(r, c + e, width) : c + e <= r;
        if (r < count && isMine) A.v[r * H * args.C + c + e] = args.scale * x[e];
    }
}

void main() {
    Chunk chunk = chunkAt(args.packed, args.N, gl_WorkGroupID.x, args.T, args.C);
    if (chunk.sequence < 0) return;
    uint head = gl_WorkGroupID.y, count = chunk.tokens.count, lane = gl_LocalInvocationIndex;
    uint64_t token = uint64_t(chunk.tokens.first) * H + head;
    TBuf rowsA = atT(args.a, token * K), rowsB = atT(args.b, token * K);
    F32Buf gates = GATED ? atF(args.gate, token * K) : args.gate, A = atF(args.A, token * args.C);
    Tile x = Tile(0, tileStride(SLICE), false), y = Tile(tileQuads(64, SLICE), tileStride(SLICE), false);

    [[dont_unroll]] for (uint width = args.C / 2; width > 0; width = GATED ? width / 2 : 0) {
        Acc scores;
        accZero(scores);
        [[dont_unroll]] for (uint k0 = 0; k0 < K; k0 += SLICE) {
            if (GATED) {
                TILE_STAGE(x, 64, SLICE, r, c, (levelReference(r, width) < count && r < count
                    ? widen(isUpper(r, width) ? rowQuad(rowsA, r, k0 + c, K, H * K, count) : rowQuad(rowsB, r, k0 + c, K, H * K, count))
                        * levelFactor(gates, r, k0 + c, width, K, H * K, count, EXCLUSIVE)
                    : vec4(0)))
            } else {
                TILE_ROWS(x, 64, SLICE, rowsA, 0, k0, K, H * K, count)
                TILE_ROWS(y, 64, SLICE, rowsB, 0, k0, K, H * K, count)
            }
            barrier();
            if (GATED) {
                mma(scores, x, T(x), SLICE);
            } else {
                mma(scores, x, T(y), SLICE);
            }
            barrier();
        }
        ACC_EACH(scores, r, c, x, storeRow(A, r, c, x, width, count);)
    }
    if (!GATED) return;

    uint parts = min(gl_WorkGroupSize.x / 64, 4);          // the diagonal: so many invocations a row
    uint row = lane / parts, part = lane % parts;
    float sum = 0;
    for (uint k = part; row < count && k < K; k += parts) sum += loadT(rowsA, row * H * K + k) * loadT(rowsB, row * H * K + k);
    if (row < 64) tileVector[lane] = sum;
    barrier();
    if (lane >= count) return;
    float dot = 0;
    for (uint i = 0; i < parts; i++) dot += tileVector[parts * lane + i];
    A.v[lane * (H * args.C + 1)] = args.scale * dot;
}
