#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "common/octs.glsl"
#include "common/sequence.glsl"
// Gradients of short_conv.comp, in one pass over x and dy. With dpre_t = dy_t · act'(pre_t):
//   dx_t = Σ_w weight[w] · dpre_{t+W−1−w}, plus dfinal of the input where the final state holds it
//   dweight[c, w] = Σ_t dpre_t · x_{t−W+1+w} and dbias[c] = Σ_t dpre_t over a run of tokens, [runs, channels, W] and [runs, channels] in fp32
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
    F32Buf dweight;
    F32Buf dbias;
    I32Buf starts;
    uint tokens;
    uint channels;
    uint span;
    uint sequences;
    uint run;
} args;

layout(local_size_x_id = 0) in;

#include "conv/taps.glsl"

// Of the input at time t. (A selection, not a branch: lavapipe 26 gets a load of two bytes in branches within branches wrong.)
vec4 finalGradient(Sequence s, int t, uint c) {
    int place = t - int(s.end - s.first) + int(W);
    vec4 d = vec4(0);
    if (has(HAS_FINAL)) d = columnAt(args.dfinal, FINAL, s.number, c, uint(max(place, 0)));
    return place >= 0 ? d : vec4(0);
}

vec4 slope(vec4 pre) {
    vec4 gate = sigmoid(pre);
    return has(SILU) ? gate * (1.0 + pre * (1.0 - gate)) : vec4(1);
}

vec4 taps[W], bias, window[W], dweight[W], dbias;
vec4 dx[W];                     // dx[j] grows for the token j before the one at hand
Sequence s;

void stateGradients(uint n, uint c) {
    Sequence s = sequenceAt(args.starts, args.span, n);
    AnyBuf dstate = atAny(args.dx, typeOf(OUTPUT), (uint64_t(n) * args.channels + c) * W);
    vec4 d[W];
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

// Goes on to a token: its dpre, and what that gives to the sums and to the inputs it has come from.
void take(uint token, uint c, Oct x, Oct dy, bool isLive, bool isCounted) {
    if (has(WHOLE) ? false : token >= s.end && token < args.tokens) {
        s = sequenceOf(args.starts, args.span, args.sequences, token);
        [[unroll]] for (uint w = 1; w < W; ++w) window[w] = earlier(s, int(w) - int(W), c);
    }
    [[unroll]] for (uint w = 1; w < W; ++w) window[w - 1] = window[w];
    window[W - 1] = value(x);
    vec4 dpre = value(dy) * slope(convolved(taps, window, bias));
    if (!isLive) dpre = vec4(0);
    if (has(HAS_SUMS)) {
        vec4 counted = isCounted ? dpre : vec4(0);
        [[unroll]] for (uint w = 0; w < W; ++w) dweight[w] += counted * window[w];
        if (has(HAS_BIAS)) dbias += counted;
    }
    [[unroll]] for (uint j = W - 1; j > 0; --j) dx[j] = dx[j - 1];
    dx[0] = vec4(0);
    if (has(HAS_FINAL)) dx[0] = finalGradient(s, int(token - s.first), c);
    if (!isLive) dx[0] = vec4(0);
    // Of a run that begins with its sequence, nothing reaches further back.
    [[unroll]] for (uint j = 0; j < W; ++j) dx[j] += taps[W - 1 - j] * (has(WHOLE) ? dpre : token >= s.first + j ? dpre : vec4(0));
}

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint item = group * gl_WorkGroupSize.x + gl_LocalInvocationIndex, pieces = (args.channels + 3) / 4;
    uint c = item % pieces * 4, n = item / pieces;
    if (MODE == 0 ? n * args.run >= args.tokens : n >= args.sequences) return;
    bias = biasOf(args.bias, c);
    readTaps(args.weight, c, taps);
    if (MODE == 1) {
        stateGradients(n, c);
        return;
    }
    uint first = n * args.run, end = min(first + args.run, args.tokens);
    Oct back[W], x[BATCH], dy[BATCH];
    [[unroll]] for (uint w = 1; w < W; ++w) back[w] = fetch(args.x, max(first + w, W) - W, c);
    s = sequenceOfRun(first);
    startWindow(s, first, c, back, window);
    [[unroll]] for (uint w = 0; w < W; ++w) dx[w] = dweight[w] = vec4(0);
    dbias = vec4(0);
    uint live = has(WHOLE) ? s.end : args.tokens;
    [[dont_unroll]] for (uint base = first; base < end + W - 1; base += BATCH) {
        uint at = min(base, args.tokens - 1), last = args.tokens - 1 - at;
        uint64_t xs = placeOf(args.x, at, c), dys = placeOf(args.dy, at, c), before = placeOf(args.dx, base, c) - (W - 1) * stride();
        [[unroll]] for (uint b = 0; b < BATCH; ++b) x[b] = fetchAt(after(xs, min(b, last)), c);
        [[unroll]] for (uint b = 0; b < BATCH; ++b) dy[b] = fetchAt(after(dys, min(b, last)), c);
        [[unroll]] for (uint b = 0; b < BATCH; ++b) {
            uint token = base + b;
            take(token, c, x[b], dy[b], token < live, token < end);
            // dx of the token W - 1 before, if that is one of the run's.
            uvec4 bits = packQuadAny(typeOf(X), dx[W - 1]);
            if (token - first - (W - 1) < end - first) putAt(after(before, b), c, bits);
        }
    }
    if (has(HAS_SUMS)) {
        AnyBuf to = AnyBuf(uint64_t(atF(args.dweight, uint64_t(n) * args.channels * W)));
        [[unroll]] for (uint j = 0; j < W; ++j) {
            vec4 flat_;
            [[unroll]] for (uint e = 0; e < 4; ++e) flat_[e] = dweight[(4 * j + e) % W][(4 * j + e) / W];
            storeRowAny(to, 0, c * W + 4 * j, args.channels * W, has(WIDE), flat_);
        }
        if (has(HAS_BIAS)) storeRowAny(AnyBuf(uint64_t(atF(args.dbias, uint64_t(n) * args.channels))), 0, c, args.channels, has(WIDE), dbias);
    }
}
