// C[b] = alpha · op(A[b]) · op(B[b]), one workgroup a tile of TILE_M × TILE_N.
#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16 MM=plain|coopmat
// @exclude T=f32 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#include "common/dtype.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf a; TBuf b; TBuf c;
    uint m, n, k;
    uint lda, ldb, ldc;
    float alpha;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool TRANS_A = false;
layout(constant_id = 9) const bool TRANS_B = false;
layout(constant_id = 10) const bool ALIGNED = true;

#define TILE_ALIGNED ALIGNED
#define TILE_QUADS (A_QUADS + B_QUADS)
#define A_QUADS (TRANS_A ? tileQuads(TILE_K, TILE_M) : tileQuads(TILE_M, TILE_K))
#define B_QUADS (TRANS_B ? tileQuads(TILE_N, TILE_K) : tileQuads(TILE_K, TILE_N))
#include "common/tile.glsl"

uint left(uint at, uint end) { return at < end ? end - at : 0; }

void main() {
    uint m0 = gl_WorkGroupID.y * TILE_M;
    uint n0 = gl_WorkGroupID.x * TILE_N;
    Tile a = Tile(0, TRANS_A ? tileStride(TILE_M) : tileStride(TILE_K), TRANS_A);
    Tile b = Tile(A_QUADS, TRANS_B ? tileStride(TILE_K) : tileStride(TILE_N), TRANS_B);
    Acc acc;
    accZero(acc);
    [[dont_unroll]] for (uint k = 0; k < args.k; k += TILE_K) {
        if (TRANS_A) TILE_STAGE(a, TILE_K, TILE_M, r, c, loadQuad(args.a, (k + r) * args.lda + m0 + c, k + r < args.k ? int(args.m - m0 - c) : 0))
        else TILE_STAGE(a, TILE_M, TILE_K, r, c, loadQuad(args.a, (m0 + r) * args.lda + k + c, m0 + r < args.m ? int(args.k - k - c) : 0))
        if (TRANS_B) TILE_STAGE(b, TILE_N, TILE_K, r, c, loadQuad(args.b, (n0 + r) * args.ldb + k + c, n0 + r < args.n ? int(args.k - k - c) : 0))
        else TILE_STAGE(b, TILE_K, TILE_N, r, c, loadQuad(args.b, (k + r) * args.ldb + n0 + c, k + r < args.k ? int(args.n - n0 - c) : 0))
        barrier();
        mma(acc, a, b, TILE_K);
        barrier();
    }
    ACC_EACH(acc, r, c, x, storeTail4T(args.c, (m0 + r) * args.ldc + n0 + c, m0 + r < args.m ? int(args.n - n0 - c) : 0, args.alpha * x);)
}
