// Sequences of a causal convolution and their inputs. Time runs from -W in the initial state [sequences, channels, W] through 0 at a sequence's first token.
struct Stretch { uint sequence; uint first; uint end; };

// The sequence that holds a token.
Stretch stretchOf(uint token) {
    uint s = 0;
    if (isNull(args.starts)) {
        s = token / args.length_;
        return Stretch(s, s * args.length_, (s + 1) * args.length_);
    }
    uint above = args.sequences;
    while (above - s > 1) {
        uint middle = (s + above) / 2;
        if (uint(args.starts.v[middle]) <= token) s = middle; else above = middle;
    }
    return Stretch(s, uint(args.starts.v[s]), uint(args.starts.v[s + 1]));
}

Stretch stretchAt(uint s) {
    if (isNull(args.starts)) return Stretch(s, s * args.length_, (s + 1) * args.length_);
    return Stretch(s, uint(args.starts.v[s]), uint(args.starts.v[s + 1]));
}

float sigmoid(float x) { return 1.0 / (1.0 + exp(-x)); }
