#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "common/octs.glsl"
#include "common/turns.glsl"
#include "common/sequence.glsl"
// Turns pairs of channels of x [B,T,H,D]: (x₀, x₁) → (x₀ cos a − x₁ sin a, x₀ sin a + x₁ cos a), a = ±position · base^(−2i/dim), pair i is (i, i + dim/2) or,
// interleaved, (2i, 2i + 1). position = offset + t, t from the sequence's first token; negative positions give zeros. Channels from dim on are copied.
// Angles are 64-bit fractions of a turn: the frequency of pair i is f0 · Π r^(2^k) over the bits k of i, and position · frequency wraps around exactly.
layout(push_constant, scalar) uniform Args {
    AnyBuf x;
    I32Buf cu;          // [sequences + 1] or null: a sequence is a row of B
    I32Buf offsets;     // [sequences], or [1] with offsetStride 0, or null
    AnyBuf y;
    uint64_t f0, r1, r2, r4, r8, r16, r32, r64;
    uint tokens;        // B·T
    uint span;          // T
    uint heads;
    uint width;         // D
    uint half_;         // dim / 2
    uint sequences;
    int offset;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TYPE = 0;
layout(constant_id = 2) const uint FLAGS = 0;
layout(constant_id = 3) const uint HEADS = 8;      // of an invocation: they share a token's angles, which are found while their channels are on the way

const uint WIDE = 1, INTERLEAVED = 2, BACKWARD = 4, OFFSET_STRIDE = 8;

bool has(uint flag) { return (FLAGS & flag) != 0; }

// Upper half of a product.
uint64_t mulHigh(uint64_t a, uint64_t b) {
    uint64_t al = a & 0xfffffffful, ah = a >> 32, bl = b & 0xfffffffful, bh = b >> 32;
    uint64_t middle = ah * bl + ((al * bl) >> 32);
    return ah * bh + (middle >> 32) + ((al * bh + (middle & 0xfffffffful)) >> 32);
}

// Of pair i, a multiple of four.
uint64_t frequency(uint i) {
    uint64_t f = args.f0;
    if ((i & 4) != 0) f = mulHigh(f, args.r4);
    if ((i & 8) != 0) f = mulHigh(f, args.r8);
    if ((i & 16) != 0) f = mulHigh(f, args.r16);
    if ((i & 32) != 0) f = mulHigh(f, args.r32);
    if ((i & 64) != 0) f = mulHigh(f, args.r64);
    return f;
}

int positionOf(uint token) {
    Sequence s = sequenceOf(args.cu, args.span, args.sequences, token);
    return int(token - s.first) + args.offset + (isNull(args.offsets) ? 0 : args.offsets.v[has(OFFSET_STRIDE) ? s.number : 0]);
}

// (cos, sin) of four pairs.
void angles(uint i, int position, out vec4 c, out vec4 s) {
    c = s = vec4(0);
    if (position < 0) return;
    uint64_t f[4];
    f[0] = frequency(i);
    f[1] = mulHigh(f[0], args.r1);
    f[2] = mulHigh(f[0], args.r2);
    f[3] = mulHigh(f[2], args.r1);
    [[unroll]] for (uint k = 0; k < 4; ++k) {
        vec2 a = cosSinTurns(uint((f[k] * uint64_t(position)) >> 32));
        c[k] = a.x;
        s[k] = has(BACKWARD) ? -a.y : a.y;
    }
}

// An invocation has four pairs (or four channels of the tail) of a token, over some heads.
void main() {
    uint turning = (args.half_ + 3) / 4, units = turning + (args.width - 2 * args.half_ + 3) / 4;
    uint headGroups = (args.heads + HEADS - 1) / HEADS;
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint64_t item = uint64_t(group) * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    if (item >= uint64_t(args.tokens) * headGroups * units) return;
    uint unit = uint(item % units);
    uint firstHead = uint(item / units % headGroups) * HEADS;
    uint token = uint(item / units / headGroups);
    bool isTail = unit >= turning, wide = has(WIDE);
    uint i = isTail ? 2 * args.half_ + (unit - turning) * 4 : has(INTERLEAVED) ? unit * 8 : unit * 4;
    uint width = isTail ? args.width : has(INTERLEAVED) ? 2 * args.half_ : args.half_;
    uint j = isTail || has(INTERLEAVED) ? i + 4 : args.half_ + i, widthJ = isTail ? args.width : 2 * args.half_;

    uint64_t row[HEADS];
    Oct x0[HEADS], x1[HEADS];
    [[unroll]] for (uint h = 0; h < HEADS; ++h) {
        row[h] = (uint64_t(token) * args.heads + min(firstHead + h, args.heads - 1)) * args.width;
        x0[h] = loadQuad(atAny(args.x, TYPE, row[h]), TYPE, i, width, wide);
        x1[h] = loadQuad(atAny(args.x, TYPE, row[h]), TYPE, j, widthJ, wide);
    }
    vec4 c = vec4(0), s = vec4(0);
    if (!isTail) angles(unit * 4, positionOf(token), c, s);
    [[unroll]] for (uint h = 0; h < HEADS; ++h) {
        if (firstHead + h >= args.heads) continue;
        AnyBuf y = atAny(args.y, TYPE, row[h]);
        vec4 a = quadOf(x0[h], TYPE, 0), b = quadOf(x1[h], TYPE, 0);
        if (isTail) storeRowAny(y, TYPE, i, width, wide, a);
        else if (has(INTERLEAVED)) {
            storeRowAny(y, TYPE, i, width, wide, vec4(a.xz * c.xy - a.yw * s.xy, a.xz * s.xy + a.yw * c.xy).xzyw);
            if (j < width) storeRowAny(y, TYPE, j, width, wide, vec4(b.xz * c.zw - b.yw * s.zw, b.xz * s.zw + b.yw * c.zw).xzyw);
        } else {
            storeRowAny(y, TYPE, i, width, wide, a * c - b * s);
            storeRowAny(y, TYPE, j, widthJ, wide, a * s + b * c);
        }
    }
}
