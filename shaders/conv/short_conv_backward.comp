#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "common/octs.glsl"
#include "common/sequence.glsl"
// Gradients of short_conv.comp, in one pass over x and dy. With dpre_t = dy_t · act'(pre_t):
//   dx_t = Σ_w weight[w] · dpre_{t+W−1−w}, plus dfinal of the input where the final state holds it
//   sums: dweight[w, c] = Σ_t dpre_t · x_{t−W+1+w} and dbias[c] = Σ_t dpre_t over a run of tokens, [runs, W + 1, channels] in fp32, dbias last
// An invocation has four channels and `run` tokens, and goes on to the W − 1 tokens after them, whose dpre reaches back.
// Mode 1: dx for the times −W to −1 of the initial state instead, dstate [sequences, channels, W]; an invocation has a sequence.
layout(push_constant, scalar) uniform Args {
    AnyBuf dy;
    AnyBuf x;
    AnyBuf weight;
    AnyBuf bias;
    AnyBuf state;       // initial
    AnyBuf dfinal;      // gradient of the final state [sequences, channels, W]
    AnyBuf dx;          // or dstate
    F32Buf sums;
    I32Buf starts;
    uint tokens;
    uint channels;
    uint span;
    uint sequences;
    uint run;
} args;

layout(local_size_x_id = 0) in;

#include "conv/taps.glsl"

vec4 finalGradient(Sequence s, int t, uint c) {
    int place = t - int(s.end - s.first) + int(W);
    vec4 d = vec4(0);
    if (has(HAS_FINAL)) if (place >= 0) d = columnAt(args.dfinal, FINAL, s.number, c, uint(place));
    return d;
}

vec4 slope(vec4 pre) {
    vec4 gate = sigmoid(pre);
    return has(SILU) ? gate * (1.0 + pre * (1.0 - gate)) : vec4(1);
}

void stateGradients(uint n, uint c) {
    Sequence s = sequenceAt(args.starts, args.span, n);
    AnyBuf dstate = atAny(args.dx, typeOf(OUTPUT), (uint64_t(n) * args.channels + c) * W);
    vec4 taps[W], window[W], bias = biasOf(args.bias, c), d[W];
    readTaps(args.weight, c, taps);
    for (uint w = 0; w < W; ++w) d[w] = finalGradient(s, int(w) - int(W), c);
    for (int t = 0; t < int(W) - 1 && t < int(s.end - s.first); ++t) {
        [[unroll]] for (uint w = 0; w < W; ++w) window[w] = inputAt(s, t - int(W) + 1 + int(w), c);
        vec4 dpre = value(fetch(args.dy, s.first + uint(t), c)) * slope(convolved(taps, window, bias));
        // Time t reads the inputs from t − W + 1 on, with the taps from 0 on.
        [[unroll]] for (uint w = 0; w < W; ++w) {
            int at = t + 1 + int(w);
            if (at < int(W)) d[at] += taps[w] * dpre;
        }
    }
    for (uint w = 0; w < W; ++w) {
        for (uint k = 0; k < 4 && c + k < args.channels; ++k) storeAny(dstate, typeOf(OUTPUT), k * W + w, d[w][k]);
    }
}

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint item = group * gl_WorkGroupSize.x + gl_LocalInvocationIndex, pieces = (args.channels + 3) / 4;
    uint c = item % pieces * 4, n = item / pieces;
    if (MODE == 1) {
        if (n < args.sequences) stateGradients(n, c);
        return;
    }
    uint first = n * args.run, end = min(first + args.run, args.tokens);
    if (first >= args.tokens) return;
    Oct back[W], ahead[BATCH], given[BATCH];
    [[unroll]] for (uint w = 1; w < W; ++w) back[w] = fetch(args.x, max(first + w, W) - W, c);
    vec4 taps[W], bias = biasOf(args.bias, c);
    readTaps(args.weight, c, taps);
    vec4 window[W], sums[W + 1], dx[W];                 // dx[j] grows for the token j before the one at hand
    [[unroll]] for (uint w = 0; w < W; ++w) dx[w] = sums[w] = vec4(0);
    sums[W] = vec4(0);
    Sequence s = Sequence(0, 0, 0);
    [[dont_unroll]] for (uint base = first; base < end + W - 1; base += BATCH) {
        [[unroll]] for (uint b = 0; b < BATCH; ++b) ahead[b] = fetch(args.x, base + b, c);
        [[unroll]] for (uint b = 0; b < BATCH; ++b) given[b] = fetch(args.dy, base + b, c);
        if (base == first) {
            s = sequenceOfRun(first);
            [[unroll]] for (uint w = 1; w < W; ++w) {
                int t = int(first - s.first) - int(W) + int(w);
                window[w] = value(back[w]);
                if (t < 0) window[w] = earlier(s, t, c);
            }
        }
        [[unroll]] for (uint b = 0; b < BATCH; ++b) {
            uint token = base + b;
            if (!has(WHOLE) && token >= s.end && token < args.tokens) {
                s = sequenceOf(args.starts, args.span, args.sequences, token);
                [[unroll]] for (uint w = 1; w < W; ++w) window[w] = earlier(s, int(w) - int(W), c);
            }
            [[unroll]] for (uint w = 1; w < W; ++w) window[w - 1] = window[w];
            window[W - 1] = value(ahead[b]);
            vec4 dpre = value(given[b]) * slope(convolved(taps, window, bias));
            bool isLive = token < (has(WHOLE) ? s.end : args.tokens);
            if (!isLive) dpre = vec4(0);
            if (has(HAS_SUMS) && token < end) {
                [[unroll]] for (uint w = 0; w < W; ++w) sums[w] += dpre * window[w];
                sums[W] += dpre;
            }
            [[unroll]] for (uint j = W - 1; j > 0; --j) dx[j] = dx[j - 1];
            dx[0] = vec4(0);
            if (has(HAS_FINAL)) if (isLive) dx[0] = finalGradient(s, int(token - s.first), c);
            [[unroll]] for (uint j = 0; j < W; ++j) if (token >= s.first + j) dx[j] += taps[W - 1 - j] * dpre;
            uint done = token - (W - 1);
            if (token >= first + W - 1 && done < end) {
                storeRowAny(atAny(args.dx, typeOf(X), uint64_t(done) * args.channels), typeOf(X), c, args.channels, has(WIDE), dx[W - 1]);
            }
        }
    }
    if (has(HAS_SUMS)) {
        [[unroll]] for (uint w = 0; w <= W; ++w) {
            storeRowAny(AnyBuf(uint64_t(atF(args.sums, (uint64_t(n) * (W + 1) + w) * args.channels))), 0, c, args.channels, has(WIDE), sums[w]);
        }
    }
}
