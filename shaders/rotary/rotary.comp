#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
// Rotary position embedding (Su et al. 2021) of x [tokens, heads, width], on the first dim channels; the others pass. Pair i is (i, i + dim/2), or
// (2i, 2i + 1) if interleaved:
//   y₀ = x₀ cos α - x₁ sin α,  y₁ = x₀ sin α + x₁ cos α,  α = direction · position · base^(-2i/dim);   zeros where the position is negative or past the limit
// frequencies[i] = base^(-2i/dim) / 2π in turns, as a fraction of 2^64: position · frequency wraps around by itself, exactly, whatever the position.
// The position of a token is its sequence's offset plus its place in the sequence: sequences are stretches of `length_` tokens, or given by starts [sequences + 1].
layout(push_constant, scalar) uniform Args {
    TBuf x;
    TBuf y;
    I64Buf frequencies;     // [dim / 2]
    AnyBuf offsets;         // [sequences] or [1], or null
    I32Buf starts;          // or null
    uint tokens;
    uint heads;
    uint width;
    uint dim;
    uint length_;
    uint sequences;
    uint offsetType;
    uint offsetStride;      // 1: an offset for each sequence
    int offset;             // added to all
    uint limit;             // positions from here on give zeros; 0 for no limit
    uint interleaved;
    float direction;        // 1, or -1 for the gradient
} args;

layout(local_size_x_id = 0) in;

// Cosine and sine of a fraction of a turn, from an eighth of a turn about the nearest quarter.
vec2 turn(uint fraction) {
    uint quarter = (fraction + 0x20000000u) >> 30;
    float a = float(int(fraction - (quarter << 30))) * (6.283185307179586 / 4294967296.0);
    float q = a * a;
    float s = a * (1.0 + q * (-1.0 / 6.0 + q * (1.0 / 120.0 + q * (-1.0 / 5040.0 + q / 362880.0))));
    float c = 1.0 + q * (-0.5 + q * (1.0 / 24.0 + q * (-1.0 / 720.0 + q / 40320.0)));
    if (quarter == 1) return vec2(-s, c);
    if (quarter == 2) return vec2(-c, -s);
    if (quarter == 3) return vec2(s, -c);
    return vec2(c, s);
}

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint64_t item = uint64_t(group) * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    uint pairs = args.dim / 2;
    uint lanes = pairs + args.width - args.dim;         // an invocation for each pair, and for each channel that passes
    if (item >= uint64_t(args.tokens) * args.heads * lanes) return;
    uint lane = uint(item % lanes);
    uint64_t row = item / lanes;
    uint token = uint(row / args.heads);
    TBuf x = atT(args.x, row * args.width);
    TBuf y = atT(args.y, row * args.width);
    if (lane >= pairs) {
        uint i = args.dim + lane - pairs;
        storeT(y, i, loadT(x, i));
        return;
    }

    uint sequence = isNull(args.starts) ? token / args.length_ : 0;
    uint first = sequence * args.length_;
    if (!isNull(args.starts)) {
        uint above = args.sequences;
        while (above - sequence > 1) {
            uint middle = (sequence + above) / 2;
            if (uint(args.starts.v[middle]) <= token) sequence = middle; else above = middle;
        }
        first = uint(args.starts.v[sequence]);
    }
    int position = args.offset + int(token - first);
    if (!isNull(args.offsets)) position += loadIndex(args.offsets, args.offsetType, sequence * args.offsetStride);
    vec2 t = vec2(0);
    if (position >= 0 && (args.limit == 0 || uint(position) < args.limit)) t = turn(uint((uint64_t(position) * uint64_t(args.frequencies.v[lane])) >> 32));
    t.y *= args.direction;
    uint i = args.interleaved != 0 ? 2 * lane : lane;
    uint j = args.interleaved != 0 ? i + 1 : i + pairs;
    float a = loadT(x, i), b = loadT(x, j);
    storeT(y, i, a * t.x - b * t.y);
    storeT(y, j, a * t.y + b * t.x);
}
