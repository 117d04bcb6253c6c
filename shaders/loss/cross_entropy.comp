#version 460
#extension GL_GOOGLE_include_directive : require
// @variants T=f32|f16|bf16
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "common/lanes.glsl"
// Cross entropy of logits [rows, width] against labels [rows], `lanes` invocations a row. With x = scale·logits, then x = cap·tanh(x/cap) if cap > 0,
// lse = ln Σ e^x, z = square·lse², ε = smoothing:
//   loss = lse - (1-ε) x_y - ε·mean(x) + z;     rows with the label `ignored` give 0;  a label outside [0, width) has no x_y
//   dlogits = up·scale·(e^(x-lse) (1 + 2 square·lse) - ε/width - (1-ε)[y]) (1 - tanh²),  + given·warp·max(logits) at the first largest logit (l2warp)
// up = given / divisor, given = upstream (one, or one a row; 1 when null). dlogits may be the logits themselves.
layout(push_constant, scalar) uniform Args {
    TBuf logits;
    AnyBuf labels;
    F32Buf loss;        // null or [rows]
    F32Buf zLoss;       // null or [rows]
    F32Buf lse;         // null or [rows]; read instead of written if lseGiven
    TBuf dlogits;       // null: no gradient
    F32Buf upstream;    // null, [1] or [rows]
    F32Buf divisor;     // null or [1]
    uint rows;
    uint width;
    uint lanes;
    uint labelType;
    int ignored;
    uint upstreamStride;    // 0 or 1
    uint wide;
    uint lseGiven;
    float scale;
    float cap;
    float smoothing;
    float square;
    float warp;
} args;

layout(local_size_x_id = 0) in;

const float LOWEST = -3.4028235e38;
shared uint firsts[256];    // of each subgroup

float tanhOf(float x) { return abs(x) < 0.02 ? x * (1.0 - x * x / 3.0) : 1.0 - 2.0 / (exp(2.0 * x) + 1.0); }
float value(float logit) {
    float x = args.scale * logit;
    return args.cap > 0 ? args.cap * tanhOf(x / args.cap) : x;
}

// Four elements of each of the AHEAD turns from i on, all loads before the first use; anything past the row's end.
const uint AHEAD = 4;
void readAhead(out vec4 l[AHEAD], TBuf row, uint i, uint step_, uint width, bool wide) {
    if (wide) {
        Raw4T raw[AHEAD];
        [[unroll]] for (uint a = 0; a < AHEAD; ++a) raw[a] = raw4T(row, min(i + a * step_, width - 4));
        [[unroll]] for (uint a = 0; a < AHEAD; ++a) l[a] = value4T(raw[a]);
    } else [[unroll]] for (uint a = 0; a < AHEAD; ++a) l[a] = rowT(row, min(i + a * step_, width - 1), width, wide);
}

// The least of a segment's indices, as laneSum adds.
uint laneFirst(uint at) {
    if (args.lanes <= gl_SubgroupSize) {
        for (uint o = args.lanes / 2; o > 0; o /= 2) at = min(at, subgroupShuffleXor(at, o));
        return at;
    }
    at = subgroupMin(at);
    if (gl_SubgroupInvocationID == 0) firsts[gl_SubgroupID] = at;
    barrier();
    uint n = args.lanes / gl_SubgroupSize;
    for (uint g = 0; g < n; ++g) at = min(at, firsts[gl_SubgroupID / n * n + g]);
    return at;
}

void main() {
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    uint place = group * (gl_WorkGroupSize.x / args.lanes) + laneSlot() / args.lanes;
    bool isRow = place < args.rows;
    uint row = isRow ? place : 0;
    uint width = args.width, lane = laneSlot() % args.lanes, step_ = args.lanes * 4;
    uint end = isRow ? width : 0;
    bool wide = args.wide != 0;
    TBuf logits = atT(args.logits, uint64_t(row) * width);
    int label = loadIndex(args.labels, args.labelType, row);
    bool isIgnored = label == args.ignored;
    float given = scalarOr(args.upstream, row * args.upstreamStride, 1.0, uint64_t(args.labels));
    float up = given / scalarOr(args.divisor, 0, 1.0, uint64_t(args.labels));

    // One pass: largest value so far and the sum of exponentials below it.
    float top = LOWEST, sum = 0, total = 0, largest = LOWEST;
    uint largestAt = 0xffffffffu;
    bool isKnown = args.lseGiven != 0;
    for (uint i = isKnown && args.warp == 0 ? end : lane * 4; i < end; i += step_ * AHEAD) {
        vec4 l[AHEAD];
        readAhead(l, logits, i, step_, width, wide);
        float most = top;
        [[unroll]] for (uint a = 0; a < AHEAD; ++a) [[unroll]] for (uint k = 0; k < 4; ++k) {
            uint at = i + a * step_ + k;
            if (args.warp != 0 && at < width && l[a][k] > largest) { largest = l[a][k]; largestAt = at; }
            float x = value(l[a][k]);
            total += at < width ? x : 0.0;
            l[a][k] = at < width ? x : LOWEST;
            most = max(most, l[a][k]);
        }
        sum *= exp(top - most);
        top = most;
        [[unroll]] for (uint a = 0; a < AHEAD; ++a) [[unroll]] for (uint k = 0; k < 4; ++k) sum += i + a * step_ + k < width ? exp(l[a][k] - top) : 0.0;
    }
    float rowTop = laneMax(top, args.lanes);
    sum = laneSum(sum * exp(top - rowTop), args.lanes);
    total = laneSum(total, args.lanes);
    float lse = rowTop + log(sum);
    float known = scalarOr(args.lse, row, lse, uint64_t(args.labels));
    if (isKnown) lse = known;
    float z = args.square > 0 ? args.square * lse * lse : 0.0;     // a compiler may square first, and 0 times infinity is no zero
    if (args.warp != 0) {
        float rowLargest = laneMax(largest, args.lanes);
        largestAt = laneFirst(largest == rowLargest ? largestAt : 0xffffffffu);
        largest = rowLargest;
    }
    bool hasLabel = label >= 0 && uint(label) < width;
    if (lane == 0 && isRow) {
        float loss = lse - args.smoothing * total / float(width) + z;
        if (hasLabel) loss -= (1.0 - args.smoothing) * value(loadT(logits, uint(label)));
        if (!isNull(args.loss)) args.loss.v[row] = isIgnored ? 0.0 : loss;
        if (!isNull(args.zLoss)) args.zLoss.v[row] = isIgnored ? 0.0 : z;
        if (!isNull(args.lse) && !isKnown) args.lse.v[row] = lse;
    }
    if (isNull(args.dlogits)) return;

    barrier();  // the label's logit is read before it is overwritten
    TBuf dlogits = atT(args.dlogits, uint64_t(row) * width);
    float p1 = 1.0 + 2.0 * args.square * lse;
    float even = args.smoothing / float(width);
    for (uint i = lane * 4; i < end; i += step_ * AHEAD) {
        vec4 l[AHEAD];
        readAhead(l, logits, i, step_, width, wide);
        [[unroll]] for (uint a = 0; a < AHEAD; ++a) {
            uint at = i + a * step_;
            vec4 d = vec4(0);
            [[unroll]] for (uint k = 0; k < 4; ++k) {
                float x = value(l[a][k]);
                float g = exp(x - lse) * p1 - even - (at + k == uint(label) ? 1.0 - args.smoothing : 0.0);
                if (args.cap > 0) g *= 1.0 - (x / args.cap) * (x / args.cap);
                d[k] = isIgnored ? 0.0 : up * args.scale * g;
                if (args.warp != 0 && at + k == largestAt) d[k] += given * args.warp * largest;
            }
            if (at < width) storeRowT(dlogits, at, width, wide, d);
        }
    }
}
