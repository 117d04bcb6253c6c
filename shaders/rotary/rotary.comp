#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
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
    uint flags;
} args;

layout(local_size_x_id = 0) in;

const uint TYPE = 7, WIDE = 8, INTERLEAVED = 16, BACKWARD = 32, OFFSET_STRIDE = 64, HEADS_SHIFT = 8;

bool has(uint flag) { return (args.flags & flag) != 0; }

// Upper half of a product.
uint64_t mulHigh(uint64_t a, uint64_t b) {
    uint64_t al = a & 0xfffffffful, ah = a >> 32, bl = b & 0xfffffffful, bh = b >> 32;
    uint64_t middle = ah * bl + ((al * bl) >> 32);
    return ah * bh + (middle >> 32) + ((al * bh + (middle & 0xfffffffful)) >> 32);
}

uint64_t frequency(uint i) {
    uint64_t f = args.f0;
    if ((i & 1) != 0) f = mulHigh(f, args.r1);
    if ((i & 2) != 0) f = mulHigh(f, args.r2);
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

// An invocation has four pairs (or four channels of the tail) of a token, over some heads.
void main() {
    uint type = args.flags & TYPE, step = (args.flags >> HEADS_SHIFT) & 255;
    bool wide = has(WIDE);
    uint turning = (args.half_ + 3) / 4, units = turning + (args.width - 2 * args.half_ + 3) / 4;
    uint headGroups = (args.heads + step - 1) / step;
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint64_t item = uint64_t(group) * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    if (item >= uint64_t(args.tokens) * headGroups * units) return;
    uint unit = uint(item % units);
    uint firstHead = uint(item / units % headGroups) * step;
    uint token = uint(item / units / headGroups);
    uint lastHead = min(firstHead + step, args.heads);
    uint64_t row = (uint64_t(token) * args.heads + firstHead) * args.width;

    if (unit >= turning) {
        uint i = 2 * args.half_ + (unit - turning) * 4;
        for (uint h = firstHead; h < lastHead; ++h, row += args.width) {
            storeRowAny(atAny(args.y, type, row), type, i, args.width, wide, rowAny(atAny(args.x, type, row), type, i, args.width, wide));
        }
        return;
    }

    uint i = unit * 4;
    vec4 c = vec4(0), s = vec4(0);
    int position = positionOf(token);
    if (position >= 0) {
        for (uint k = 0; k < 4; ++k) {
            vec2 a = cosSinTurns(uint((frequency(i + k) * uint64_t(position)) >> 32));
            c[k] = a.x;
            s[k] = has(BACKWARD) ? -a.y : a.y;
        }
    }
    for (uint h = firstHead; h < lastHead; ++h, row += args.width) {
        AnyBuf x = atAny(args.x, type, row), y = atAny(args.y, type, row);
        if (has(INTERLEAVED)) {
            vec4 p = rowAny(x, type, 2 * i, 2 * args.half_, wide);
            storeRowAny(y, type, 2 * i, 2 * args.half_, wide, vec4(p.xz * c.xy - p.yw * s.xy, p.xz * s.xy + p.yw * c.xy).xzyw);
            if (i + 2 < args.half_) {
                p = rowAny(x, type, 2 * i + 4, 2 * args.half_, wide);
                storeRowAny(y, type, 2 * i + 4, 2 * args.half_, wide, vec4(p.xz * c.zw - p.yw * s.zw, p.xz * s.zw + p.yw * c.zw).xzyw);
            }
        } else {
            vec4 a = rowAny(x, type, i, args.half_, wide), b = rowAny(x, type, args.half_ + i, 2 * args.half_, wide);
            storeRowAny(y, type, i, args.half_, wide, a * c - b * s);
            storeRowAny(y, type, args.half_ + i, 2 * args.half_, wide, a * s + b * c);
        }
    }
}
