#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// One AdamW step (Loshchilov and Hutter 2019) on n elements: g = factor·grad,
//   m = β1 m + (1-β1) g,  v = β2 v + (1-β2) g²,  p = p (1 - lr·decay) - lr · (m / c1) / (√(v / c2) + eps),  c = 1 - β^step
// p lives in `master` (fp32) when there is one, and is rounded into param. clip: null, or (norm, factor, non-finite): then a step with a
// non-finite gradient does nothing. correction: (c1, c2), lr: both in device memory, so that a captured step can be replayed.
layout(push_constant, scalar) uniform Args {
    TBuf param;
    F32Buf master;
    AnyBuf grad;
    F32Buf m;
    F32Buf v;
    F32Buf lr;
    F32Buf correction;
    F32Buf clip;
    uint n;
    uint gradType;
    uint wide;
    float beta1;
    float beta2;
    float oneMinusBeta1;
    float oneMinusBeta2;
    float eps;
    float decay;
} args;

layout(local_size_x_id = 0) in;

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint i = (group * gl_WorkGroupSize.x + gl_LocalInvocationIndex) * 4;
    if (i >= args.n) return;
    float factor = scalarOr(args.clip, 1, 1.0, uint64_t(args.lr));
    if (scalarOr(args.clip, 2, 0.0, uint64_t(args.lr)) != 0) return;
    bool wide = args.wide != 0 && i + 4 <= args.n;
    float lr = args.lr.v[0];
    vec4 g = factor * rowAny(args.grad, args.gradType, i, args.n, wide);
    vec4 m = args.beta1 * rowAny(U32Buf(args.m), 0, i, args.n, wide) + args.oneMinusBeta1 * g;
    vec4 v = args.beta2 * rowAny(U32Buf(args.v), 0, i, args.n, wide) + args.oneMinusBeta2 * g * g;
    bool hasMaster = !isNull(args.master);
    vec4 p = hasMaster ? rowAny(U32Buf(args.master), 0, i, args.n, wide) : rowT(args.param, i, args.n, wide);
    p -= lr * args.decay * p;
    p -= lr * (m / args.correction.v[0]) / (sqrt(v / args.correction.v[1]) + args.eps);
    storeRowAny(U32Buf(args.m), 0, i, args.n, wide, m);
    storeRowAny(U32Buf(args.v), 0, i, args.n, wide, v);
    if (hasMaster) storeRowAny(U32Buf(args.master), 0, i, args.n, wide, p);
    storeRowT(args.param, i, args.n, wide, p);
}
