#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "common/sequence.glsl"
// δ_t = x_{t−1} − x_t over x [tokens, channels] within each sequence, x_{−1} from the state [sequences, channels] or 0; last = the last input of each sequence.
// Backward (x is then dδ, state the gradient of last): dx_t = dδ_{t+1} − dδ_t, the last one plus dlast; last is then the gradient of the state: dδ_0.
// A sequence without tokens passes its state (or its gradient) on. An invocation has four channels of a token, or after all tokens those of a sequence's last.
layout(push_constant, scalar) uniform Args {
    AnyBuf x;
    AnyBuf state;
    AnyBuf y;
    AnyBuf last;        // or null
    I32Buf starts;
    uint tokens;
    uint channels;
    uint span;
    uint sequences;
    uint types;         // x and y | state << 4 | last << 8
    uint wide;
    uint backward;
} args;

layout(local_size_x_id = 0) in;

vec4 row(AnyBuf p, uint type, uint r, uint c) {
    return isNull(p) ? vec4(0) : rowAny(atAny(p, type, uint64_t(r) * args.channels), type, c, args.channels, args.wide != 0);
}

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint64_t item = uint64_t(group) * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    uint pieces = (args.channels + 3) / 4;
    if (item >= uint64_t(args.tokens + args.sequences) * pieces) return;
    uint token = uint(item / pieces), c = uint(item % pieces) * 4;
    uint type = args.types & 15u, stateType = (args.types >> 4) & 15u, lastType = (args.types >> 8) & 15u;
    bool isBackward = args.backward != 0;
    if (token >= args.tokens) {
        if (isNull(args.last)) return;
        Sequence s = sequenceAt(args.starts, args.span, token - args.tokens);
        vec4 last = s.first == s.end ? row(args.state, stateType, s.number, c) : row(args.x, type, isBackward ? s.first : s.end - 1, c);
        storeRowAny(atAny(args.last, lastType, uint64_t(s.number) * args.channels), lastType, c, args.channels, args.wide != 0, last);
        return;
    }
    Sequence s = sequenceOf(args.starts, args.span, args.sequences, token);
    bool isEdge = isBackward ? token + 1 == s.end : token == s.first;
    vec4 other = isEdge ? row(args.state, stateType, s.number, c) : row(args.x, type, isBackward ? token + 1 : token - 1, c);
    storeRowAny(atAny(args.y, type, uint64_t(token) * args.channels), type, c, args.channels, args.wide != 0, other - row(args.x, type, token, c));
}
