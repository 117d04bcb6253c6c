#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/lanes.glsl"
// Kullback-Leibler divergence of a student's logits s [rows, width] from a teacher's t [rows, width], one workgroup a row:
//   loss = sum over i of p_t (ln p_t - ln p_s),   p = softmax of scale times a row;   s is overwritten with its gradient scale (p_s - p_t) if wanted
layout(push_constant, scalar) uniform Args {
    TBuf student;
    TBuf teacher;
    F32Buf loss;        // [rows]
    uint rows;
    uint width;
    uint wantsGradient;
    float scale;
} args;

layout(local_size_x_id = 0) in;

const float LOWEST = -3.4028235e38;

// ln of the sum of exponentials of a scaled row.
float rowLse(TBuf row) {
    float top = LOWEST, sum = 0;
    for (uint i = laneSlot(); i < args.width; i += gl_WorkGroupSize.x) {
        float x = args.scale * loadT(row, i);
        if (x > top) { sum *= exp(top - x); top = x; }
        sum += exp(x - top);
    }
    float rowTop = laneMax(top, gl_WorkGroupSize.x);
    return rowTop + log(laneSum(sum * exp(top - rowTop), gl_WorkGroupSize.x));
}

void main() {
    uint row = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    if (row >= args.rows) return;
    TBuf student = atT(args.student, uint64_t(row) * args.width), teacher = atT(args.teacher, uint64_t(row) * args.width);
    float studentLse = rowLse(student), teacherLse = rowLse(teacher);
    float sum = 0;
    for (uint i = laneSlot(); i < args.width; i += gl_WorkGroupSize.x) {
        float s = args.scale * loadT(student, i) - studentLse, t = args.scale * loadT(teacher, i) - teacherLse;
        sum += exp(t) * (t - s);
        if (args.wantsGradient != 0) storeT(student, i, args.scale * (exp(s) - exp(t)));
    }
    sum = laneSum(sum, gl_WorkGroupSize.x);
    if (laneSlot() == 0) args.loss.v[row] = sum;
}
