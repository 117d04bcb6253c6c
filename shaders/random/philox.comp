#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "common/turns.glsl"
// Philox 4x32-10 (Salmon et al. 2011) with key `seed`: element i of y is number n = offset + i of the stream, word n % 4 of the block with counter (n / 4, 0).
// kind 0: the word (i32); kind 1: uniform, a + (b − a)·(word >> 8)/2²⁴; kind 2: normal with mean a and standard deviation b, by Box and Muller: words (u, v) of
// a pair give √(−2 ln((u >> 8) + ½)/2²⁴) times the cosine and the sine of v/2³² turns.
layout(push_constant, scalar) uniform Args {
    AnyBuf y;
    uint64_t seed;
    uint64_t offset;
    uint n;
    uint kind;
    uint type;
    float a;
    float b;
} args;

layout(local_size_x_id = 0) in;

uvec4 philox(uvec4 counter, uvec2 key) {
    [[dont_unroll]] for (uint i = 0; i < 10; ++i) {
        uint high0, low0, high1, low1;
        umulExtended(0xD2511F53u, counter.x, high0, low0);
        umulExtended(0xCD9E8D57u, counter.z, high1, low1);
        counter = uvec4(high1 ^ counter.y ^ key.x, low1, high0 ^ counter.w ^ key.y, low0);
        key += uvec2(0x9E3779B9u, 0xBB67AE85u);
    }
    return counter;
}

vec2 normalPair(uint u, uint v) { return sqrt(-2.0 * log((float(u >> 8) + 0.5) / 16777216.0)) * cosSinTurns(v); }

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint64_t piece = uint64_t(group) * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    uint skipped = uint(args.offset) & 3u;
    if (piece * 4 >= uint64_t(args.n) + skipped) return;
    uvec4 words = philox(uvec4(unpackUint2x32(args.offset / 4 + piece), 0, 0), unpackUint2x32(args.seed));
    precise vec4 y = vec4(0);
    if (args.kind == 1) y = args.a + (args.b - args.a) * (vec4(words >> 8) / 16777216.0);
    else if (args.kind == 2) y = args.a + args.b * vec4(normalPair(words.x, words.y), normalPair(words.z, words.w));
    for (uint k = 0; k < 4; ++k) {
        uint64_t i = piece * 4 + k - skipped;           // wraps around below 0
        if (i >= args.n) continue;
        if (args.kind == 0) I32Buf(uint64_t(args.y)).v[uint(i)] = int(words[k]);
        else storeAny(args.y, args.type, uint(i), y[k]);
    }
}
