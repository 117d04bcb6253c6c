#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f16|bf16 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#include "common/dtype.glsl"
// An operand of a product, [rows, k] of A or the transpose of B's [k, rows], as fragments in the order in which packed.comp wants them: blocks of 64 rows;
// of a block one step of FRAG_K after the other; of a step the fragments from above to below; of a fragment 16 bytes a lane, whatever the device's layout of a
// cooperative matrix is. Rows are filled up with zeros to multiples of 64, k to multiples of 48. One workgroup makes 64 × 64.
layout(push_constant, scalar) uniform Args {
    TBuf source;
    U32x4Buf packed;
    uint rows, k;
    uint ld;            // distance of rows as they lie in memory
    uint stride;        // distance of batches
    uint batch;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool IS_B = false;
layout(constant_id = 9) const bool ALONG_K = true;      // lies as [rows, k], else as [k, rows]
layout(constant_id = 10) const uint ALIGNED = 8;        // all rows in memory begin at multiples of so many elements: 8, 4, or 1 for any

#define TILE_ALIGNED (ALIGNED >= 4)
#define TILE_WHOLE (ALIGNED >= 8)
#define TILE_QUADS tileQuads(64, 64)
#define TILE_BARE
#include "common/tile.glsl"
#include "gemm/packed.glsl"

void main() {
    uint blocks = (args.rows + 63) / 64, depth = packedDepth(args.k), pieces = (depth + 63) / 64;
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint block = group / pieces % blocks, r0 = block * 64, k0 = group % pieces * 64, layer = group / pieces / blocks;
    if (layer >= args.batch) return;
    uint rows = args.rows - r0, k = args.k > k0 ? args.k - k0 : 0;
    TBuf source = atT(args.source, uint64_t(layer) * args.stride + (k == 0 ? 0 : ALONG_K ? uint64_t(r0) * args.ld + k0 : uint64_t(k0) * args.ld + r0));
    const Tile t = Tile(0, tileStride(64), false);
    TILE_ROWS(t, 64, 64, source, 0, 0, (ALONG_K ? k : rows), args.ld, (ALONG_K ? rows : k))
    barrier();

    const uint high = IS_B ? FRAG_N : FRAG_M, stride = t.stride >> 1;
    uint base = (layer * blocks + block) * packedBlock(args.k) + k0 / FRAG_K * (64 / high) * SUBGROUP;
    [[unroll]] for (uint f = gl_SubgroupID; f < tileTrip(64 / FRAG_K * (64 / high)); f += SUBGROUPS) {
        uint r = f % (64 / high) * high, s = f / (64 / high) * FRAG_K;
        if (k0 + s >= depth) break;
        uint at = ALONG_K ? r * stride + s / 8 : s * stride + r / 8;
        uvec4 words;
        if (IS_B) {
            FragB b;
            if (ALONG_K) coopMatLoad(b, tilePool, at, stride, gl_CooperativeMatrixLayoutColumnMajor);
            else coopMatLoad(b, tilePool, at, stride, gl_CooperativeMatrixLayoutRowMajor);
            words = wordsOf(b);
        } else {
            FragA a;
            if (ALONG_K) coopMatLoad(a, tilePool, at, stride, gl_CooperativeMatrixLayoutRowMajor);
            else coopMatLoad(a, tilePool, at, stride, gl_CooperativeMatrixLayoutColumnMajor);
            words = wordsOf(a).xzyw;
        }
        atPacked(args.packed, base + f * SUBGROUP + gl_SubgroupInvocationID).v = words;
    }
}
