#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// Backward of norm.comp, the parameters: dweight = Σ dn·x̂ and dbias = Σ dn over the rows of each group, with dn and x̂ of norm_backward.comp. An invocation
// adds up four columns over the rows b, b + blocks, b + 2 blocks, … of a group; the results [blocks, groups, width] are added up by another pass.
layout(push_constant, scalar) uniform Args {
    AnyBuf dy;
    AnyBuf s;
    TBuf gate;
    F32Buf stats;
    F32Buf dweight;     // or null
    F32Buf dbias;       // or null
    uint rows;          // of one group
    uint width;
    uint groups;
    uint blocks;
    uint flags;
    uint types;
} args;

layout(local_size_x_id = 0) in;

#include "norm/rows.glsl"

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint item = group * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    uint width = args.width;
    uint pieces = (width + 3) / 4;
    if (item >= pieces * args.groups * args.blocks) return;
    bool wide = has(WIDE);
    uint i = item % pieces * 4;
    uint g = item / pieces % args.groups;
    uint block = item / pieces / args.groups;
    vec4 dweight = vec4(0), dbias = vec4(0);
    for (uint r = block; r < args.rows; r += args.blocks) {
        uint row = r * args.groups + g;
        uint64_t start = uint64_t(row) * width;
        vec4 dn = rowAny(atAny(args.dy, typeOf(GRADIENT), start), typeOf(GRADIENT), i, width, wide);
        vec4 x = rowAny(atAny(args.s, typeOf(SUM), start), typeOf(SUM), i, width, wide);
        if (has(GATE_BEFORE)) x *= act(rowT(atT(args.gate, start), i, width, wide));
        if (has(GATE_AFTER)) dn *= act(rowT(atT(args.gate, start), i, width, wide));
        dweight += dn * (x - meanOf(row, args.rows * args.groups)) * args.stats.v[row];
        dbias += dn;
    }
    uint64_t column = (uint64_t(block) * args.groups + g) * width;
    if (!isNull(args.dweight)) storeRowAny(AnyBuf(uint64_t(atF(args.dweight, column))), 0, i, width, wide, dweight);
    if (!isNull(args.dbias)) storeRowAny(AnyBuf(uint64_t(atF(args.dbias, column))), 0, i, width, wide, dbias);
}
