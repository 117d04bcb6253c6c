#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "delta/raw_gate.glsl"
// g = the decay of raw gates x (raw_gate.glsl) over x, g [tokens, heads, C], with A_log [heads] (null: 0) and bias [heads, C] (null: 0); g is f32.
// With dg (f32): dx of x's type instead, and partial [splits, 2, heads C] f32, the sums of dx and of d / dA_log over a stretch of `chunk` tokens.
// An invocation has four columns of such a stretch.
layout(push_constant, scalar) uniform Args {
    AnyBuf x;
    AnyBuf aLog;
    AnyBuf bias;
    F32Buf g;
    F32Buf dg;          // null in forward, as are the two that follow
    AnyBuf dx;
    F32Buf partial;
    uint tokens;
    uint width;         // heads C
    uint channels;      // C
    uint types;         // x | A_log << 4 | bias << 8
    uint chunk;
    uint bounded;
    float lower;
} args;

layout(local_size_x_id = 0) in;

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint pieces = (args.width + 3) / 4;
    uint item = group * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    uint split = item / pieces, c = item % pieces * 4;
    if (split * args.chunk >= args.tokens) return;
    uint xType = args.types & 15u, aType = (args.types >> 4) & 15u, biasType = (args.types >> 8) & 15u;
    bool isBackward = !isNull(args.dg), bounded = args.bounded != 0;
    vec4 rate = vec4(1), bias = vec4(0), sumX = vec4(0), sumA = vec4(0);
    [[unroll]] for (uint k = 0; k < 4; ++k) {
        if (c + k < args.width && !isNull(args.aLog)) rate[k] = exp(loadAny(args.aLog, aType, (c + k) / args.channels));
        if (c + k < args.width && !isNull(args.bias)) bias[k] = loadAny(args.bias, biasType, c + k);
    }
    uint end = min(args.tokens, (split + 1) * args.chunk);
    [[dont_unroll]] for (uint t = split * args.chunk; t < end; ++t) {
        uint64_t row = uint64_t(t) * args.width;
        AnyBuf x = atAny(args.x, xType, row);
        [[unroll]] for (uint k = 0; k < 4; ++k) {
            if (c + k >= args.width) continue;
            float y = loadAny(x, xType, c + k) + bias[k];
            if (isBackward) {
                float dg = atF(args.dg, row).v[c + k], d = dg * rawGateSlope(y, rate[k], bounded, args.lower);
                storeAny(atAny(args.dx, xType, row), xType, c + k, d);
                sumX[k] += d;
                sumA[k] += bounded ? d * y : dg * rawGate(y, rate[k], false, 0.0);
            } else atF(args.g, row).v[c + k] = rawGate(y, rate[k], bounded, args.lower);
        }
    }
    if (!isBackward) return;
    F32Buf p = atF(args.partial, uint64_t(split) * 2 * args.width);
    [[unroll]] for (uint k = 0; k < 4; ++k) if (c + k < args.width) {
        p.v[c + k] = sumX[k];
        p.v[args.width + c + k] = sumA[k];
    }
}
