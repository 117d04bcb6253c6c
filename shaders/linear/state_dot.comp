// Gradient of the gates through the state's decay: y[chunk, head, i] = sum over j of h'[i, j] D[i, j], where D is the gradient of the state leaving the
// chunk and h' that state: the one entering the next chunk, or the final one.
// states, gradients [chunks, H, rows, width]; final fp32 [N, H, rows, width].
// One workgroup has 8 rows, 32 threads each.
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

shared float part[8][32];

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint slot = gl_LocalInvocationID.x / 32, lane = gl_LocalInvocationID.x % 32;
    uint result = group * 8 + slot;
    float sum = 0;
    if (result < args.results) {
        uint row = result % args.rows, head = result / args.rows % args.H, index = result / args.rows / args.H;
        Chunk chunk = chunkAt(args.packed, args.N, index, args.T, args.C);
        uint64_t size = uint64_t(args.rows) * args.width;
        if (chunk.sequence >= 0) {
            Span sequence = sequenceSpan(args.packed, uint(chunk.sequence), args.T);
            bool isLast = (chunk.index + 1) * args.C >= sequence.count;
            TBuf h = atT(args.states, (uint64_t(isLast ? index : index + 1) * args.H + head) * size);
            F32Buf end = atF(args.final, (uint64_t(chunk.sequence) * args.H + head) * size);
            TBuf d = atT(args.gradients, (uint64_t(index) * args.H + head) * size + uint64_t(row) * args.width);
            for (uint j = lane; j < args.width; j += 32) {
                uint i = row * args.width + j;
                sum += (isLast ? end.v[i] : loadT(h, i)) * loadT(d, j);
            }
        }
    }
    part[slot][lane] = sum;
    barrier();
    if (lane != 0 || result >= args.results) return;
    float y = 0;
    for (uint i = 0; i < 32; i++) y += part[slot][i];
    args.y.v[result] = y;
}
