// y = x, bytes: an invocation copies four runs of 16 bytes, a workgroup's neighbouring ones together.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"

layout(push_constant, scalar) uniform Args { U32Buf x; U32Buf y; uint runs; } args;

layout(local_size_x_id = 0) in;

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint first = group * gl_WorkGroupSize.x * 4 + gl_LocalInvocationIndex;
    if (first >= args.runs) return;
    uvec4 value[4];
    [[unroll]] for (uint j = 0; j < 4; j++) {
        value[j] = U32x4Buf(uint64_t(args.x) + uint64_t(min(first + j * gl_WorkGroupSize.x, args.runs - 1)) * 16ul).v;
    }
    [[unroll]] for (uint j = 0; j < 4; j++) {
        uint i = first + j * gl_WorkGroupSize.x;
        if (i < args.runs) U32x4Buf(uint64_t(args.y) + uint64_t(i) * 16ul).v = value[j];
    }
}
