// Whether a subgroup's accumulator of a product can be an operand of the next one in registers: chained[0] = 1 where component e of an accumulator is element
// (r, c) exactly where component e of a left operand is element (r, c) and component e of a right one element (c, r). One workgroup of one subgroup.
// @variants T=f16|bf16 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#extension GL_KHR_shader_subgroup_vote : require

layout(push_constant, scalar) uniform Args { U32Buf chained; } args;

layout(local_size_x_id = 0) in;

#define TILE_QUADS 64
#define TILE_BARE
#include "common/tile.glsl"

shared float numbers[256];
shared TileFloat halves[256];

void main() {
    for (uint i = gl_SubgroupInvocationID; i < FRAG_M * FRAG_N; i += SUBGROUP) {
        numbers[i] = float(i);
        halves[i] = TileFloat(float(i));                   // whole numbers up to 256 are exact
    }
    barrier();
    FragA a;
    FragB b;
    FragC c;
    coopMatLoad(a, halves, 0, FRAG_N, gl_CooperativeMatrixLayoutRowMajor);
    coopMatLoad(b, halves, 0, FRAG_N, gl_CooperativeMatrixLayoutColumnMajor);
    coopMatLoad(c, numbers, 0, FRAG_N, gl_CooperativeMatrixLayoutRowMajor);
    bool same = a.length() == c.length() && b.length() == c.length();
    for (uint e = 0; same && e < c.length(); e++) same = float(a[e]) == c[e] && float(b[e]) == c[e];
    same = subgroupAll(same);
    if (gl_SubgroupInvocationID == 0) args.chained.v[0] = same ? 1 : 0;
}
