// What the short convolutions share: an invocation has four channels, from c on, and walks over tokens, of which it reads BATCH ahead.
layout(constant_id = 1) const uint W = 4;
layout(constant_id = 2) const uint MODE = 0;
layout(constant_id = 3) const uint TYPES = 0;
layout(constant_id = 4) const uint FLAGS = 0;
layout(constant_id = 5) const uint BATCH = 8;

const uint X = 0, WEIGHT = 4, BIAS = 8, STATE = 12, OUTPUT = 16, FINAL = 20;    // bit positions of element types in TYPES
const uint WIDE = 1, SILU = 2, HAS_BIAS = 4, HAS_OTHER = 8, HAS_STATE = 16, HAS_FINAL = 32, HAS_SUMS = 64, WHOLE = 128;     // WHOLE: no run crosses a boundary

bool has(uint flag) { return (FLAGS & flag) != 0; }
uint typeOf(uint position) { return (TYPES >> position) & 15u; }

Oct fetch(AnyBuf rows, uint token, uint c) {
    return loadQuad(atAny(rows, typeOf(X), uint64_t(min(token, args.tokens - 1)) * args.channels), typeOf(X), c, args.channels, has(WIDE));
}

vec4 value(Oct x) { return quadOf(x, typeOf(X), 0); }

// The sequence of a run's first token.
Sequence sequenceOfRun(uint token) {
    uint row = token / args.span;
    return has(WHOLE) ? Sequence(row, row * args.span, (row + 1) * args.span) : sequenceOf(args.starts, args.span, args.sequences, token);
}

vec4 sigmoid(vec4 x) { return 1.0 / (1.0 + exp(-x)); }

// The taps [channels, W] of four channels: four times W elements in a row.
void readTaps(AnyBuf weight, uint c, out vec4 taps[W]) {
    vec4 flat_[W];
    Oct raw[W];
    [[unroll]] for (uint j = 0; j < W; j++) raw[j] = loadQuad(weight, typeOf(WEIGHT), c * W + 4 * j, args.channels * W, has(WIDE));
    [[unroll]] for (uint j = 0; j < W; j++) flat_[j] = quadOf(raw[j], typeOf(WEIGHT), 0);
    [[unroll]] for (uint w = 0; w < W; w++) {
        [[unroll]] for (uint k = 0; k < 4; k++) taps[w][k] = flat_[(k * W + w) / 4][(k * W + w) % 4];
    }
}

vec4 biasOf(AnyBuf bias, uint c) { return has(HAS_BIAS) ? quadOf(loadQuad(bias, typeOf(BIAS), c, args.channels, has(WIDE)), typeOf(BIAS), 0) : vec4(0); }

// Column w of a tensor [sequences, channels, W].
vec4 columnAt(AnyBuf p, uint position, uint sequence, uint c, uint w) {
    vec4 x = vec4(0);
    AnyBuf at = atAny(p, typeOf(position), (uint64_t(sequence) * args.channels + c) * W);
    for (uint k = 0; k < 4 && c + k < args.channels; ++k) x[k] = loadAny(at, typeOf(position), k * W + w);
    return x;
}

// The input at a time from −W to −1 of a sequence.
vec4 earlier(Sequence s, int t, uint c) { return has(HAS_STATE) && t >= -int(W) ? columnAt(args.state, STATE, s.number, c, uint(t + int(W))) : vec4(0); }

vec4 inputAt(Sequence s, int t, uint c) { return t >= 0 ? value(fetch(args.x, s.first + uint(t), c)) : earlier(s, t, c); }

vec4 convolved(vec4 taps[W], vec4 window[W], vec4 bias) {
    vec4 pre = bias;
    [[unroll]] for (uint w = 0; w < W; ++w) pre += taps[w] * window[w];
    return pre;
}
