#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
// y = x (mode 0), y += s·x (mode 1), y = s (mode 2) between any float types, n elements; types 0 f32, 1 f16, 2 bf16.
layout(push_constant, scalar) uniform Args {
    U32Buf x;
    U32Buf y;
    uint n;
    uint xType;
    uint yType;
    uint mode;
    float s;
} args;

layout(local_size_x_id = 0) in;

float read(U32Buf p, uint type, uint i) {
    uint64_t a = uint64_t(p);
    if (type == 0) return F32Buf(a).v[i];
    uint bits = uint(U16Buf(a).v[i]);
    return type == 1 ? f16Value(bits) : bf16Value(bits);
}

void write(U32Buf p, uint type, uint i, float value) {
    uint64_t a = uint64_t(p);
    if (type == 0) F32Buf(a).v[i] = value;
    else U16Buf(a).v[i] = uint16_t(type == 1 ? f16Bits(value) : bf16Bits(value));
}

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint base = group * gl_WorkGroupSize.x * 4;
    for (uint j = 0; j < 4; ++j) {
        uint i = base + j * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
        if (i >= args.n) return;
        float value = args.s;
        if (args.mode == 0) value = read(args.x, args.xType, i);
        else if (args.mode == 1) value = read(args.y, args.yType, i) + args.s * read(args.x, args.xType, i);
        write(args.y, args.yType, i, value);
    }
}
