// What the short convolutions share: an invocation has four channels, from c on, and walks over tokens, of which it reads BATCH at once. What is read ahead is used in the same
// turn of a loop, in straight code: drivers wait for what crosses the end of a turn or a join of branches.
layout(constant_id = 1) const uint W = 4;
layout(constant_id = 2) const uint MODE = 0;
layout(constant_id = 3) const uint TYPES = 0;
layout(constant_id = 4) const uint FLAGS = 0;
layout(constant_id = 5) const uint BATCH = 8;

const uint X = 0, WEIGHT = 4, BIAS = 8, STATE = 12, OUTPUT = 16, FINAL = 20;    // bit positions of element types in TYPES
const uint WIDE = 1, SILU = 2, HAS_BIAS = 4, HAS_OTHER = 8, HAS_STATE = 16, HAS_FINAL = 32, HAS_SUMS = 64, WHOLE = 128, LOOPED = 256;
// WHOLE: no run crosses a boundary, and all runs are whole batches; LOOPED: runs are longer than a batch

bool has(uint flag) { return (FLAGS & flag) != 0; }
uint typeOf(uint position) { return (TYPES >> position) & 15u; }

const uint X_BYTES = (TYPES & 15u) == 0u ? 4u : 2u;

// Where channel c of a token lies.
uint64_t placeOf(AnyBuf rows, uint token, uint c) { return uint64_t(rows) + (uint64_t(token) * args.channels + c) * uint64_t(X_BYTES); }

// Bytes of a token, and where the n-th one after a place is.
uint64_t stride() { return uint64_t(args.channels * X_BYTES); }
uint64_t after(uint64_t place, uint n) { return place + uint64_t(n) * stride(); }

Oct fetchAt(uint64_t place, uint c) {
    Oct x;
    if (has(WIDE)) x = quadAt(place, typeOf(X));
    else x = loadQuad(AnyBuf(place - uint64_t(c * X_BYTES)), typeOf(X), c, args.channels, false);
    return x;
}

// Stores what packQuadAny left of four channels.
void putAt(uint64_t place, uint c, uvec4 bits) {
    if (has(WIDE)) storeQuadAt(place, typeOf(X), bits);
    else [[unroll]] for (uint k = 0; k < 4; ++k) if (c + k < args.channels) {
        if (typeOf(X) == 0) U32Buf(place).v[k] = bits[k];
        else U16Buf(place).v[k] = uint16_t(bits[k / 2] >> (k % 2 * 16));
    }
}

Oct fetch(AnyBuf rows, uint token, uint c) { return fetchAt(placeOf(rows, min(token, args.tokens - 1), c), c); }

vec4 value(Oct x) { return quadOf(x, typeOf(X), 0); }

// The sequence of a run's first token.
Sequence sequenceOfRun(uint token) {
    uint row = token / args.span;
    return has(WHOLE) ? Sequence(row, row * args.span, (row + 1) * args.span) : sequenceOf(args.starts, args.span, args.sequences, token);
}

vec4 sigmoid(vec4 x) { return 1.0 / (1.0 + exp(-x)); }

// The taps [channels, W] of four channels are four times W elements in a row: tap w of channel k is the (k W + w)-th.
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

// Column w of a tensor [sequences, channels, W]; anything past the channels. Addresses are valid whatever w: lavapipe loads in branches that are not taken.
vec4 columnAt(AnyBuf p, uint position, uint sequence, uint c, uint w) {
    vec4 x;
    [[unroll]] for (uint k = 0; k < 4; ++k) {
        uint64_t row = uint64_t(sequence) * args.channels + min(c + k, args.channels - 1);
        x[k] = loadAny(atAny(p, typeOf(position), row * W), typeOf(position), min(w, W - 1));
    }
    return x;
}

// The input at a time from −W to −1 of a sequence.
vec4 earlier(Sequence s, int t, uint c) {
    vec4 x = vec4(0);
    if (has(HAS_STATE)) x = columnAt(args.state, STATE, s.number, c, uint(max(t + int(W), 0)));
    return t >= -int(W) ? x : vec4(0);
}

vec4 inputAt(Sequence s, int t, uint c) { return t >= 0 ? value(fetch(args.x, s.first + uint(t), c)) : earlier(s, t, c); }

// The inputs before a run's first token, as far as they belong to its sequence: `back` has them read.
void startWindow(Sequence s, uint first, uint c, Oct back[W], out vec4 window[W]) {
    [[unroll]] for (uint w = 1; w < W; ++w) {
        int t = int(first - s.first) - int(W) + int(w);
        vec4 before = earlier(s, t, c);
        window[w] = t < 0 ? before : value(back[w]);
    }
}

vec4 convolved(vec4 taps[W], vec4 window[W], vec4 bias) {
    vec4 pre = bias;
    [[unroll]] for (uint w = 0; w < W; ++w) pre += taps[w] * window[w];
    return pre;
}
