// What the steps of kernels over the tile product cost: a workgroup repeats one of them on 64 x 64 tiles.
//   VERB 0: the product of two tiles in shared memory        1: an accumulator into a tile
//        2: a visit of every element of an accumulator       3: a tile from memory, of a window that the cache holds
// x [64, 64 windows]; y [workgroups, 64, 64], so that nothing is left out.
// @variants T=f32|f16|bf16 MM=plain|coopmat
// @exclude T=f32 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"

layout(push_constant, scalar) uniform Args { TBuf x; TBuf y; uint windows; uint rounds; } args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const uint VERB = 0;

#define TILE_WHOLE true
// fp32 tiles fill 32 KiB with half a tile of rows.
#ifdef MM_coopmat
#define ROWS 64
#else
#define ROWS 32
#endif
#define TILE_QUADS (2 * tileQuads(64, ROWS))
#include "common/tile.glsl"

void main() {
    Tile a = Tile(0, tileStride(ROWS), false), b = Tile(tileQuads(64, ROWS), tileStride(ROWS), false);
    Tile whole = Tile(0, tileStride(64), false);
    uint width = 64 * args.windows;
    TILE_ROWS(a, 64, ROWS, args.x, 0, 0, width, width, 64)
    TILE_ROWS(b, 64, ROWS, args.x, 0, 64, width, width, 64)
    barrier();
    Acc acc;
    accZero(acc);
    [[dont_unroll]] for (uint i = 0; i < args.rounds; i++) {
        if (VERB == 0) {
            mma(acc, a, T(b), ROWS);
        } else if (VERB == 1) {
            ACC_PUT(acc, whole, r, c, x, x)
            barrier();
        } else if (VERB == 2) {
            ACC_MAP(acc, r, c, x, (x + float(i)))
        } else {
            TILE_ROWS(a, 64, ROWS, args.x, 0, (i + gl_WorkGroupID.x) % args.windows * 64, width, width, 64)
            barrier();
        }
    }
    barrier();
    if (VERB == 3) mma(acc, a, T(b), ROWS);
    TBuf y = atT(args.y, uint64_t(gl_WorkGroupID.x) * 4096);
    ACC_STORE(acc, y, r, c, r * 64 + c, 4, x, x)
}
