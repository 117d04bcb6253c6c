#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "common/sequence.glsl"
// Gradients of short_conv.comp from dpre [tokens, channels] (fp32):
//   mode 0: dx_t = Σ_w weight[w] · dpre_{t+W−1−w}, plus dfinal of the input where the final state holds it
//   mode 1: the same for the times −W to −1 of the initial state, dstate [sequences, channels, W]
//   mode 2: dweight[w, c] = Σ_t dpre_t · x_{t−W+1+w} and dbias[c] = Σ_t dpre_t over a run of tokens, [runs, W + 1, channels] in fp32, dbias last
// An invocation has four channels and `run` tokens, or in mode 1 a sequence.
layout(push_constant, scalar) uniform Args {
    F32Buf dpre;
    AnyBuf x;
    AnyBuf weight;
    AnyBuf state;       // initial, or null
    AnyBuf dfinal;      // gradient of the final state [sequences, channels, W], or null
    AnyBuf y;           // dx, dstate or the sums
    I32Buf starts;
    uint tokens;
    uint channels;
    uint span;
    uint sequences;
    uint mode;
    uint run;
    uint types;         // x | weight << 4 | state << 8 | dfinal << 12 | y << 16
    uint wide;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint W = 4;

uint typeAt(uint shift) { return (args.types >> shift) & 15u; }

vec4 dpreAt(Sequence s, int t, uint c) {
    if (t < 0 || uint(t) >= s.end - s.first) return vec4(0);
    return rowAny(AnyBuf(uint64_t(atF(args.dpre, uint64_t(s.first + uint(t)) * args.channels))), 0, c, args.channels, args.wide != 0);
}

// Column w of a tensor [sequences, channels, W].
vec4 columnAt(AnyBuf p, uint type, uint sequence, uint c, uint w) {
    vec4 x = vec4(0);
    AnyBuf at = atAny(p, type, (uint64_t(sequence) * args.channels + c) * W);
    for (uint k = 0; k < 4 && c + k < args.channels; ++k) x[k] = loadAny(at, type, k * W + w);
    return x;
}

vec4 inputAt(Sequence s, int t, uint c) {
    if (t >= 0) return rowAny(atAny(args.x, typeAt(0), uint64_t(s.first + uint(t)) * args.channels), typeAt(0), c, args.channels, args.wide != 0);
    return isNull(args.state) ? vec4(0) : columnAt(args.state, typeAt(8), s.number, c, uint(t + int(W)));
}

vec4 finalGradient(Sequence s, int t, uint c) {
    int place = t - int(s.end - s.first) + int(W);
    return isNull(args.dfinal) || place < 0 ? vec4(0) : columnAt(args.dfinal, typeAt(12), s.number, c, uint(place));
}

void inputGradients(uint c, uint first, uint end, vec4 weight[W]) {
    vec4 window[W];                             // dpre at t to t + W − 1
    Sequence s = Sequence(0, 0, 0);
    for (uint token = first; token < end; ++token) {
        int t = int(token - s.first);
        if (token == first || token >= s.end) {
            s = sequenceOf(args.starts, args.span, args.sequences, token);
            t = int(token - s.first);
            [[unroll]] for (uint w = 1; w < W; ++w) window[w] = dpreAt(s, t + int(w) - 1, c);
        }
        [[unroll]] for (uint w = 1; w < W; ++w) window[w - 1] = window[w];
        window[W - 1] = dpreAt(s, t + int(W) - 1, c);
        vec4 d = finalGradient(s, t, c);
        [[unroll]] for (uint w = 0; w < W; ++w) d += weight[W - 1 - w] * window[w];
        storeRowAny(atAny(args.y, typeAt(16), uint64_t(token) * args.channels), typeAt(16), c, args.channels, args.wide != 0, d);
    }
}

void stateGradients(uint c, uint n, vec4 weight[W]) {
    Sequence s = sequenceAt(args.starts, args.span, n);
    AnyBuf y = atAny(args.y, typeAt(16), (uint64_t(n) * args.channels + c) * W);
    for (uint column = 0; column < W; ++column) {
        int t = int(column) - int(W);
        vec4 d = finalGradient(s, t, c);
        [[unroll]] for (uint w = 0; w < W; ++w) d += weight[W - 1 - w] * dpreAt(s, t + int(w), c);
        for (uint k = 0; k < 4 && c + k < args.channels; ++k) storeAny(y, typeAt(16), k * W + column, d[k]);
    }
}

void weightGradients(uint c, uint n, uint first, uint end) {
    vec4 sums[W + 1], window[W];                // inputs at t − W + 1 to t
    [[unroll]] for (uint w = 0; w <= W; ++w) sums[w] = vec4(0);
    Sequence s = Sequence(0, 0, 0);
    for (uint token = first; token < end; ++token) {
        int t = int(token - s.first);
        if (token == first || token >= s.end) {
            s = sequenceOf(args.starts, args.span, args.sequences, token);
            t = int(token - s.first);
            [[unroll]] for (uint w = 1; w < W; ++w) window[w] = inputAt(s, t - int(W) + int(w), c);
        }
        [[unroll]] for (uint w = 1; w < W; ++w) window[w - 1] = window[w];
        window[W - 1] = inputAt(s, t, c);
        vec4 d = dpreAt(s, t, c);
        [[unroll]] for (uint w = 0; w < W; ++w) sums[w] += d * window[w];
        sums[W] += d;
    }
    [[unroll]] for (uint w = 0; w <= W; ++w) {
        storeRowAny(atAny(args.y, 0, (uint64_t(n) * (W + 1) + w) * args.channels), 0, c, args.channels, args.wide != 0, sums[w]);
    }
}

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint64_t item = uint64_t(group) * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    uint pieces = (args.channels + 3) / 4;
    uint c = uint(item % pieces) * 4;
    uint n = uint(item / pieces);
    uint first = n * args.run;
    if (args.mode == 1 ? n >= args.sequences : first >= args.tokens) return;
    uint end = min(first + args.run, args.tokens);
    if (args.mode == 2) {
        weightGradients(c, n, first, end);
        return;
    }
    vec4 weight[W];
    [[unroll]] for (uint w = 0; w < W; ++w) weight[w] = columnAt(args.weight, typeAt(4), 0, c, w);
    if (args.mode == 0) inputGradients(c, first, end, weight);
    else stateGradients(c, n, weight);
}
