// Gradient of the gates through the state's decay: y[chunk, head, i] = sum over j of h'[i, j] D[i, j], where D is the gradient of the state leaving the
// chunk and h' that state: the one entering the next chunk, or the final one.
// states, gradients [chunks, H, rows, width]; final fp32 [N, H, rows, width].
// One workgroup has 32 rows, 8 threads each.
// @variants T=f32|f16|bf16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/sequences.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf states; TBuf gradients; F32Buf final; F32Buf y; I32Buf packed;
    uint N; uint T; uint C; uint H; uint rows; uint width; uint results;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool ALIGNED = true;         // rows begin at multiples of four elements

shared float part[32][8];

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint slot = gl_LocalInvocationID.x / 8, lane = gl_LocalInvocationID.x % 8;
    uint result = group * 32 + slot;
    float sum = 0;
    if (result < args.results) {
        uint row = result % args.rows, head = result / args.rows % args.H, index = result / args.rows / args.H;
        Chunk chunk = chunkAt(args.packed, args.N, index, args.T, args.C);
        uint64_t size = uint64_t(args.rows) * args.width;
        if (chunk.sequence >= 0) {
            Span sequence = sequenceSpan(args.packed, uint(chunk.sequence), args.T);
            bool isLast = (chunk.index + 1) * args.C >= sequence.count;
            F32Buf final = atF(args.final, (uint64_t(chunk.sequence) * args.H + head) * size + uint64_t(row) * args.width);
            TBuf h = atT(args.states, (uint64_t(isLast ? index : index + 1) * args.H + head) * size + uint64_t(row) * args.width);
            TBuf d = atT(args.gradients, (uint64_t(index) * args.H + head) * size + uint64_t(row) * args.width);
            if (ALIGNED) {
                // Four quads of each at a time, so that their loads are under way together.
                for (uint j = lane * 4; j < args.width; j += 128) {
                    vec4 a[4]; vec4 b[4];
                    [[unroll]] for (uint i = 0; i < 4; i++) {
                        uint at = min(j + i * 32, args.width - 4);
                        if (isLast) a[i] = load4F(final, at);
                        else a[i] = load4T(h, at);
                        b[i] = load4T(d, at);
                    }
                    [[unroll]] for (uint i = 0; i < 4; i++) sum += j + i * 32 < args.width ? dot(a[i], b[i]) : 0.0;
                }
            } else {
                for (uint j = lane; j < args.width; j += 8) sum += (isLast ? final.v[j] : loadT(h, j)) * loadT(d, j);
            }
        }
    }
    part[slot][lane] = sum;
    barrier();
    if (lane != 0 || result >= args.results) return;
    float y = 0;
    for (uint i = 0; i < 8; i++) y += part[slot][i];
    args.y.v[result] = y;
}
