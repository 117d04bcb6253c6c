// CUM: cumulative sum along time inside each segment of rows, column by column, in fp32.
//   term[t, c] = sum over parts of x[part, t, c] (times xWeight[t, c]) - z[part, t, c] (times zWeight[t, c])
//   y[t, c] = start[segment, c] + sum of term[i, c] over i <= t of the segment (reverse: i >= t; exclusive: i != t)
//   total[segment, c] = start + the whole sum
// A segment is a chunk of C tokens, or a whole sequence (perSequence). Columns are heads, or heads times channels.
// Any of xWeight, z, zWeight, start, y, total may be null.
// @variants T=f32|f16|bf16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/sequences.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf x; F32Buf xWeight; TBuf z; F32Buf zWeight; F32Buf start; F32Buf y; F32Buf total; I32Buf packed;
    uint sequences; uint T; uint C; uint columns; uint segments; uint parts; uint rows; uint flags;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint PLAIN = 0;              // unweighted sums in one part: of x alone, 4 columns an invocation, or 1; 2 of x - z; 0 is the general sum

const uint REVERSE = 1, EXCLUSIVE = 2, PER_SEQUENCE = 4, AHEAD = 16;

uint rowOf(Span tokens, uint i, bool reverse) { return tokens.first + (reverse ? tokens.count - 1 - i : i); }

#ifdef T_f32
#define Element float
#define Quad vec4
float valueOf(Element x) { return x; }
vec4 valuesOf(Quad x) { return x; }
Quad quadAt(uint64_t i) { return load4F(atF(args.x, i), 0); }
#else
#define Element uint                                       // 16 bits widened as they are loaded: a device may store such numbers and not compute with them
#define Quad uvec2
float valueOf(Element x) { return FROM_BITS(x); }
vec4 valuesOf(Quad x) { return unpack4(x); }
Quad quadAt(uint64_t i) { return U16x4Buf(uint64_t(args.x) + i * 2ul).v; }
#endif

void sumQuads(Span tokens, uint column, uint64_t corner, bool reverse, bool exclusive) {
    vec4 sum = isNull(args.start) ? vec4(0) : load4F(atF(args.start, corner), 0);
    [[dont_unroll]] for (uint i = 0; i < tokens.count; i += AHEAD) {
        Quad next[AHEAD];
        [[unroll]] for (uint j = 0; j < AHEAD; j++) next[j] = quadAt(uint64_t(rowOf(tokens, min(i + j, tokens.count - 1), reverse)) * args.columns + column);
        [[unroll]] for (uint j = 0; j < AHEAD; j++) {
            vec4 before = sum;
            if (i + j < tokens.count) sum += valuesOf(next[j]);
            if (i + j < tokens.count && !isNull(args.y)) store4F(atF(args.y, uint64_t(rowOf(tokens, i + j, reverse)) * args.columns + column), 0, exclusive ? before : sum);
        }
    }
    if (!isNull(args.total)) store4F(atF(args.total, corner), 0, sum);
}

float term(uint64_t i) {
    float sum = 0;
    for (uint p = 0; p < args.parts; p++) {
        uint64_t at = i + uint64_t(p) * args.rows * args.columns;
        float x = loadT(atT(args.x, at), 0);
        sum += isNull(args.xWeight) ? x : x * atF(args.xWeight, i).v[0];
        if (!isNull(args.z)) {
            float z = loadT(atT(args.z, at), 0);
            sum -= isNull(args.zWeight) ? z : z * atF(args.zWeight, i).v[0];
        }
    }
    return sum;
}

void main() {
    const uint WIDTH = PLAIN == 4 ? 4 : 1;
    uint tiles = (args.columns + gl_WorkGroupSize.x * WIDTH - 1) / (gl_WorkGroupSize.x * WIDTH);
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint segment = group / tiles;
    uint column = ((group % tiles) * gl_WorkGroupSize.x + gl_LocalInvocationID.x) * WIDTH;
    if (segment >= args.segments || column >= args.columns) return;

    Span tokens = (args.flags & PER_SEQUENCE) != 0
        ? sequenceSpan(args.packed, segment, args.T)
        : chunkAt(args.packed, args.sequences, segment, args.T, args.C).tokens;
    bool reverse = (args.flags & REVERSE) != 0;
    bool exclusive = (args.flags & EXCLUSIVE) != 0;
    uint64_t corner = uint64_t(segment) * args.columns + column;
    if (PLAIN == 4) {
        sumQuads(tokens, column, corner, reverse, exclusive);
        return;
    }
    float sum = isNull(args.start) ? 0.0 : atF(args.start, corner).v[0];
    // Plain elements are read some at a time and looked at later, so that their loads are under way together.
    [[dont_unroll]] for (uint i = 0; i < tokens.count && (PLAIN == 1 || PLAIN == 2); i += AHEAD) {
        Element next[AHEAD]; Element less[AHEAD];
        [[unroll]] for (uint j = 0; j < AHEAD; j++) {
            uint64_t at = uint64_t(rowOf(tokens, min(i + j, tokens.count - 1), reverse)) * args.columns + column;
            next[j] = Element(atT(args.x, at).v[0]);
            if (PLAIN == 2) less[j] = Element(atT(args.z, at).v[0]);
        }
        [[unroll]] for (uint j = 0; j < AHEAD; j++) {
            float before = sum;
            if (i + j < tokens.count) sum += PLAIN == 2 ? valueOf(next[j]) - valueOf(less[j]) : valueOf(next[j]);
            if (i + j < tokens.count && !isNull(args.y)) atF(args.y, uint64_t(rowOf(tokens, i + j, reverse)) * args.columns + column).v[0] = exclusive ? before : sum;
        }
    }
    for (uint i = 0; i < tokens.count && PLAIN == 0; i++) {
        uint64_t at = uint64_t(rowOf(tokens, i, reverse)) * args.columns + column;
        float before = sum;
        sum += term(at);
        if (!isNull(args.y)) atF(args.y, at).v[0] = exclusive ? before : sum;
    }
    if (!isNull(args.total)) atF(args.total, corner).v[0] = sum;
}
