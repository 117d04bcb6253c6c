#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "common/sequence.glsl"
// Depthwise causal convolution of x [tokens, channels] with weight [channels, W]:
//   y_t = act(Σ_w weight[w] · x_{t−W+1+w} + bias) + residual_t      within each sequence, inputs before it from the initial state, else 0
// Mode 1 writes the final state instead: the last W inputs of each sequence, oldest first. Mode 2 writes dpre_t = dy_t · act'(pre_t) to y.
// An invocation has four channels and `run` tokens, or in mode 1 a sequence.
layout(push_constant, scalar) uniform Args {
    AnyBuf x;
    AnyBuf weight;
    AnyBuf bias;
    AnyBuf residual;    // in mode 2: dy
    AnyBuf state;       // initial [sequences, channels, W] or null
    AnyBuf y;
    I32Buf starts;      // boundaries [sequences + 1] or null
    uint tokens;
    uint channels;
    uint span;
    uint sequences;
    uint mode;
    uint isSilu;
    uint types;         // x and residual | weight << 4 | bias << 8 | state << 12 | y << 16
    uint wide;
    uint run;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint W = 4;

uint typeAt(uint shift) { return (args.types >> shift) & 15u; }

vec4 row(AnyBuf p, uint type, uint token, uint c) {
    return rowAny(atAny(p, type, uint64_t(token) * args.channels), type, c, args.channels, args.wide != 0);
}

// Inputs at time t of a sequence; from −W to −1 they are in the initial state.
vec4 inputAt(Sequence s, int t, uint c) {
    if (t >= 0) return row(args.x, typeAt(0), s.first + uint(t), c);
    vec4 x = vec4(0);
    if (isNull(args.state) || t < -int(W)) return x;
    AnyBuf state = atAny(args.state, typeAt(12), (uint64_t(s.number) * args.channels + c) * W);
    for (uint k = 0; k < 4 && c + k < args.channels; ++k) x[k] = loadAny(state, typeAt(12), k * W + uint(t + int(W)));
    return x;
}

vec4 sigmoid(vec4 x) { return 1.0 / (1.0 + exp(-x)); }

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint64_t item = uint64_t(group) * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    uint pieces = (args.channels + 3) / 4;
    uint c = uint(item % pieces) * 4;
    uint n = uint(item / pieces);
    if (args.mode == 1) {
        if (n >= args.sequences) return;
        Sequence s = sequenceAt(args.starts, args.span, n);
        AnyBuf y = atAny(args.y, typeAt(16), (uint64_t(n) * args.channels + c) * W);
        for (uint w = 0; w < W; ++w) {
            vec4 x = inputAt(s, int(s.end - s.first) - int(W) + int(w), c);
            for (uint k = 0; k < 4 && c + k < args.channels; ++k) storeAny(y, typeAt(16), k * W + w, x[k]);
        }
        return;
    }
    uint first = n * args.run;
    if (first >= args.tokens) return;
    vec4 weight[W], window[W], bias = vec4(0);
    for (uint k = 0; k < 4 && c + k < args.channels; ++k) {
        [[unroll]] for (uint w = 0; w < W; ++w) weight[w][k] = loadAny(atAny(args.weight, typeAt(4), uint64_t(c + k) * W), typeAt(4), w);
    }
    if (!isNull(args.bias)) bias = rowAny(args.bias, typeAt(8), c, args.channels, false);
    Sequence s = Sequence(0, 0, 0);
    for (uint token = first; token < min(first + args.run, args.tokens); ++token) {
        if (token == first || token >= s.end) {
            s = sequenceOf(args.starts, args.span, args.sequences, token);
            [[unroll]] for (uint w = 1; w < W; ++w) window[w] = inputAt(s, int(token - s.first) - int(W) + int(w), c);
        }
        [[unroll]] for (uint w = 1; w < W; ++w) window[w - 1] = window[w];
        window[W - 1] = row(args.x, typeAt(0), token, c);
        vec4 pre = bias;
        [[unroll]] for (uint w = 0; w < W; ++w) pre += weight[w] * window[w];
        vec4 gate = args.isSilu != 0 ? sigmoid(pre) : vec4(1), y = pre * gate;
        if (!isNull(args.residual)) {
            vec4 other = row(args.residual, typeAt(0), token, c);
            y = args.mode == 2 ? other * gate * (1.0 + pre * (1.0 - gate)) : y + other;
        }
        storeRowAny(atAny(args.y, typeAt(16), uint64_t(token) * args.channels), typeAt(16), c, args.channels, args.wide != 0, y);
    }
}
