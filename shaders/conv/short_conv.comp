#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "common/octs.glsl"
#include "common/sequence.glsl"
// Depthwise causal convolution of x [tokens, channels] with weight [channels, W]:
//   y_t = act(Σ_w weight[w] · x_{t−W+1+w} + bias) + residual_t      within each sequence, inputs before it from the initial state, else 0
// Mode 1 writes the final state instead: the last W inputs of each sequence, oldest first.
// An invocation has four channels and `run` tokens, or in mode 1 a sequence.
layout(push_constant, scalar) uniform Args {
    AnyBuf x;
    AnyBuf weight;
    AnyBuf bias;
    AnyBuf residual;
    AnyBuf state;       // initial [sequences, channels, W]
    AnyBuf y;
    I32Buf starts;      // boundaries [sequences + 1] or null
    uint tokens;
    uint channels;
    uint span;
    uint sequences;
    uint run;
} args;

layout(local_size_x_id = 0) in;

#include "conv/taps.glsl"

void finalState(uint n, uint c) {
    Sequence s = sequenceAt(args.starts, args.span, n);
    AnyBuf y = atAny(args.y, typeOf(OUTPUT), (uint64_t(n) * args.channels + c) * W);
    for (uint w = 0; w < W; ++w) {
        vec4 x = inputAt(s, int(s.end - s.first) - int(W) + int(w), c);
        for (uint k = 0; k < 4 && c + k < args.channels; ++k) storeAny(y, typeOf(OUTPUT), k * W + w, x[k]);
    }
}

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint item = group * gl_WorkGroupSize.x + gl_LocalInvocationIndex, pieces = (args.channels + 3) / 4;
    uint c = item % pieces * 4, n = item / pieces;
    if (MODE == 1) {
        if (n < args.sequences) finalState(n, c);
        return;
    }
    uint first = n * args.run, end = min(first + args.run, args.tokens);
    if (first >= args.tokens) return;
    Oct back[W], ahead[BATCH], other[BATCH];
    [[unroll]] for (uint w = 1; w < W; ++w) back[w] = fetch(args.x, max(first + w, W) - W, c);
    vec4 taps[W], window[W], bias = biasOf(args.bias, c);
    readTaps(args.weight, c, taps);
    Sequence s = Sequence(0, 0, 0);
    [[dont_unroll]] for (uint base = first; base < (has(LOOPED) ? end : first + 1); base += BATCH) {
        uint64_t x = placeOf(args.x, base, c), residual = placeOf(args.residual, base, c), to = placeOf(args.y, base, c);
        uint last = has(WHOLE) ? BATCH : args.tokens - 1 - base;
        [[unroll]] for (uint b = 0; b < BATCH; ++b) ahead[b] = fetchAt(after(x, min(b, last)), c);
        [[unroll]] for (uint b = 0; b < BATCH; ++b) if (has(HAS_OTHER)) other[b] = fetchAt(after(residual, min(b, last)), c);
        if (base == first) {
            s = sequenceOfRun(first);
            startWindow(s, first, c, back, window);
        }
        [[unroll]] for (uint b = 0; b < BATCH; ++b) {
            uint token = base + b;
            if (!has(WHOLE) && token >= end) continue;
            if (!has(WHOLE) && token >= s.end) {
                s = sequenceOf(args.starts, args.span, args.sequences, token);
                [[unroll]] for (uint w = 1; w < W; ++w) window[w] = earlier(s, int(w) - int(W), c);
            }
            [[unroll]] for (uint w = 1; w < W; ++w) window[w - 1] = window[w];
            window[W - 1] = value(ahead[b]);
            vec4 y = convolved(taps, window, bias);
            if (has(SILU)) y *= sigmoid(y);
            if (has(HAS_OTHER)) y += value(other[b]);
            putAt(after(to, b), c, packQuadAny(typeOf(X), y));
        }
    }
}
