#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
// C = alpha·Σ_s P[s] + bias + beta·D for every batch: the second stage of a product whose reduction was split. P fp32 [batch, splits, m·n], in
// the order of s, so the result does not depend on who finished first. One invocation an element.
layout(push_constant, scalar) uniform Args {
    F32Buf p;
    TBuf bias;      // null or [n]
    TBuf d;         // null or like C, may be C
    TBuf c;         // [batch, m·n], fp32 if outF32
    uint elements;  // m·n
    uint n;
    uint batch;
    uint splits;
    uint outF32;
    float alpha;
    float beta;
} args;

layout(local_size_x_id = 0) in;

void main() {
    uint groups = (args.elements + gl_WorkGroupSize.x - 1) / gl_WorkGroupSize.x;
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint layer = group / groups, i = group % groups * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    if (layer >= args.batch || i >= args.elements) return;
    float sum = 0;
    [[dont_unroll]] for (uint s = 0; s < args.splits; s++) sum += atF(args.p, (uint64_t(layer) * args.splits + s) * args.elements).v[i];
    // CPU drivers may run both sides of a branch: no load goes through a null pointer.
    TBuf bias = isNull(args.bias) ? args.c : args.bias, d = isNull(args.d) ? args.c : args.d;
    sum *= args.alpha;
    if (!isNull(args.bias)) sum += loadT(bias, i % args.n);
    uint64_t at = uint64_t(layer) * args.elements;
    if (args.outF32 != 0) {
        if (!isNull(args.d)) sum += args.beta * atF(F32Buf(uint64_t(d)), at).v[i];
        atF(F32Buf(uint64_t(args.c)), at).v[i] = sum;
    } else {
        if (!isNull(args.d)) sum += args.beta * loadT(atT(d, at), i);
        storeT(atT(args.c, at), i, sum);
    }
}
