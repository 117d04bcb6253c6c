// RECUR-Δ: the memory with a correcting write, one token at a time. For each sequence and head, with S a K x V matrix in registers:
//   delta:  Ŝ = decay(S), h = Ŝ^T a, u = beta (v - h), S <- Ŝ + k u^T        (UNDECAYED: h = S^T a)
//   dplr:   h = S^T a, S <- decay(S) + k v^T + b h^T                          (b given; UNDECAYED set)
//   o = scale S^T q;  decay(S) = e^g diag(e^gk) S diag(e^gv)
// With steps > 1 a token has that many rows of k, v and beta: the decay comes before the first, q reads after the last.
// q, k, a, b [tokens, H, K]; v, o [tokens, HV, V] (k, a, b, v, beta, w: tokens x steps), value head h belongs to key head h / (HV/H); a null is k.
// beta [tokens, HV] or [tokens, HV, V] (BETA_VECTOR); g [tokens, HV], gk [tokens, HV, K], gv [tokens, HV, V]; w [tokens, HV, V]; each may be null.
// h0 and ht [N, HV, K, V] fp32 (TRANSPOSED: [N, HV, V, K]); null is zero, or not wanted. They may be the same memory.
// PAGED: h0 and ht are pools of states. slots [N, 1 + slotCount] has where sequence n starts and where it goes: one slot in all, or one a token; a negative one is
// zero, or dropped. TOKEN_STATES: ht [tokens, HV, K, V] gets the state after each token instead.
// In the kernel, if the flags say so:
//   NORM          q, k and a are divided by sqrt(sum x^2 + 1e-6)
//   ERASE_K       a <- a k (gdn2), after k's norm
//   MUL           a <- -a, b <- b a with the a given (rwkv7: kk and its rate)
//   BETA_SIGMOID  beta <- betaScale sigmoid(beta)
//   GATE          the one of g and gk that is given is raw, x: -e^A_log softplus(x + bias), or with BOUNDED: lower sigmoid(e^A_log (x + bias));
//                 A_log [HV], bias [HV] or [HV, K], each may be null
// and v <- w v. One workgroup holds all rows of COLUMNS columns of S: thread (group, column) holds ROWS rows of one column.
// The sums over rows that a token needs are taken at once, from the state before it: o = scale (Ŝ^T q + (k·q) u), so one barrier a token serves.
// @variants T=f32|f16|bf16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/anytype.glsl"
#include "linear/sequences.glsl"
#include "delta/raw_gate.glsl"

struct Arguments {
    TBuf q; TBuf k; TBuf v; TBuf a; TBuf b; TBuf o;
    AnyBuf beta; AnyBuf g; AnyBuf gk; AnyBuf gv; AnyBuf w; AnyBuf aLog; AnyBuf bias; F32Buf h0; F32Buf ht; I32Buf packed; I32Buf slots;
    uint T; uint H; uint HV; uint K; uint V; uint groups; uint steps; uint flags; uint types; uint slotCount; float scale; float betaScale; float lower;
};
layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer ArgumentsRef { Arguments v; };
layout(push_constant, scalar) uniform Push { ArgumentsRef arguments; };

Arguments args;                                            // a copy, so that stores do not make the compiler load it again

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ROWS = 16;              // K <= 8 ROWS
layout(constant_id = 2) const uint PAGED = 0;

const uint REVERSE = 1, UNDECAYED = 2, TRANSPOSED = 4, NORM = 8, ERASE_K = 16, MUL = 32, BETA_SIGMOID = 64, BETA_VECTOR = 128, GATE = 256, BOUNDED = 512, TOKEN_STATES = 1024;
const uint COLUMNS = 32, GROUPS = 8, TOKENS = 4;
const uint QK = 0, QB = 1, QQ = 2, KK = 3, AA = 4, DOTS = 5;

shared float sq[TOKENS][GROUPS * ROWS];
shared float sk[TOKENS][GROUPS * ROWS];
shared float sa[TOKENS][GROUPS * ROWS];
shared float sb[TOKENS][GROUPS * ROWS];
shared float sd[TOKENS][GROUPS * ROWS];                    // decay of a row, with the head's
shared float sv[TOKENS][COLUMNS];
shared float sbeta[TOKENS][COLUMNS];
shared float sc[TOKENS][COLUMNS];                          // decay of a column
shared vec2 part[2][GROUPS][COLUMNS];                      // (h, Ŝ^T q)
shared float dots[2][GROUPS][DOTS];

bool has(uint flag) { return (args.flags & flag) != 0; }
uint typeOf(uint i) { return (args.types >> (4 * i)) & 15u; }
// p[i], or 0 where p is null; loads from a valid address in any case (see scalarOr).
float anyOr0(AnyBuf p, uint type, uint i) {
    bool isThere = !isNull(p);
    float x = loadAny(AnyBuf(isThere ? uint64_t(p) : uint64_t(args.q)), type, isThere ? i : 0);
    return isThere ? x : 0.0;
}

float logDecay(float x, uint head, uint biasIndex) {
    float rate = exp(anyOr0(args.aLog, typeOf(5), head)), y = x + anyOr0(args.bias, typeOf(6), biasIndex);
    return has(GATE) ? rawGate(y, rate, has(BOUNDED), args.lower) : x;
}

// Place i in a sequence's row of slots: 0 is where it starts.
int slotOf(uint n, uint i) {
    int slot = args.slots.v[n * (args.slotCount + 1) + min(i, args.slotCount)];
    return i <= args.slotCount ? slot : -1;
}

void storeState(float S[ROWS], int slot, uint head, uint group, uint column) {
    if (isNull(args.ht) || slot < 0) return;
    F32Buf state = atF(args.ht, (uint64_t(slot) * args.HV + head) * args.K * args.V);
    for (uint j = 0; j < ROWS; j++) {
        uint row = group * ROWS + j;
        if (row < args.K && column < args.V) state.v[has(TRANSPOSED) ? column * args.K + row : row * args.V + column] = S[j];
    }
}

void main() {
    args = arguments.v;
    uint tiles = (args.V + COLUMNS - 1) / COLUMNS;
    uint wg = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
    if (wg >= args.groups) return;
    uint tile = wg % tiles, head = (wg / tiles) % args.HV, n = wg / tiles / args.HV;
    uint keyHead = head / (args.HV / args.H);
    uint K = args.K, V = args.V, tid = gl_LocalInvocationID.x;
    uint lane = tid % COLUMNS, group = tid / COLUMNS, column = tile * COLUMNS + lane;
    int start = PAGED != 0 ? slotOf(n, 0) : int(n);
    uint64_t base = (uint64_t(max(start, 0)) * args.HV + head) * K * V;
    bool hasEachToken = PAGED != 0 && (has(TOKEN_STATES) || args.slotCount > 1);

    float S[ROWS];
    for (uint j = 0; j < ROWS; j++) {
        uint row = group * ROWS + j;
        bool inside = row < K && column < V && start >= 0 && !isNull(args.h0);
        S[j] = inside ? atF(args.h0, base).v[has(TRANSPOSED) ? column * K + row : row * V + column] : 0.0;
    }

    Span tokens = sequenceSpan(args.packed, n, args.T);
    uint rows = tokens.count * args.steps;
    [[dont_unroll]] for (uint t0 = 0; t0 < rows; t0 += TOKENS) {
        uint count = min(TOKENS, rows - t0);
        for (uint i = tid; i < count * GROUPS * ROWS; i += gl_WorkGroupSize.x) {
            uint t = i / (GROUPS * ROWS), k = i % (GROUPS * ROWS);
            uint row = tokens.first * args.steps + (has(REVERSE) ? rows - 1 - t0 - t : t0 + t), token = row / args.steps;
            uint64_t at = (uint64_t(row) * args.H + keyHead) * K, atV = uint64_t(token) * args.HV + head;
            float q = 0, key = 0, a = 0, b = 0, decay = 0;
            if (k < K) {
                q = loadT(atT(args.q, (uint64_t(token) * args.H + keyHead) * K), k);
                key = loadT(atT(args.k, at), k);
                a = isNull(args.a) ? key : loadT(atT(args.a, at), k);
                if (has(ERASE_K)) a *= key;
                if (!isNull(args.b)) b = loadT(atT(args.b, at), k);
                if (has(MUL)) {
                    b *= a;
                    a = -a;
                }
                if (!isNull(args.g)) decay += logDecay(loadAny(atAny(args.g, typeOf(1), atV), typeOf(1), 0), head, head);
                if (!isNull(args.gk)) decay += logDecay(loadAny(atAny(args.gk, typeOf(2), atV * K), typeOf(2), k), head, head * K + k);
            }
            sq[t][k] = q;
            sk[t][k] = key;
            sa[t][k] = a;
            sb[t][k] = b;
            sd[t][k] = row == token * args.steps ? exp(decay) : 1.0;
        }
        for (uint i = tid; i < count * COLUMNS; i += gl_WorkGroupSize.x) {
            uint t = i / COLUMNS, v = tile * COLUMNS + i % COLUMNS;
            uint row = tokens.first * args.steps + (has(REVERSE) ? rows - 1 - t0 - t : t0 + t), token = row / args.steps;
            uint64_t at = uint64_t(row) * args.HV + head, atV = uint64_t(token) * args.HV + head;
            float x = 0, beta = 1, decay = 1;
            if (v < V) {
                x = loadT(atT(args.v, at * V), v);
                if (!isNull(args.w)) x *= loadAny(atAny(args.w, typeOf(4), at * V), typeOf(4), v);
                if (!isNull(args.beta)) {
                    beta = loadAny(atAny(args.beta, typeOf(0), has(BETA_VECTOR) ? at * V : at), typeOf(0), has(BETA_VECTOR) ? v : 0);
                    if (has(BETA_SIGMOID)) beta = args.betaScale * sigmoid(beta);
                }
                if (!isNull(args.gv) && row == token * args.steps) decay = exp(loadAny(atAny(args.gv, typeOf(3), atV * V), typeOf(3), v));
            }
            sv[t][i % COLUMNS] = x;
            sbeta[t][i % COLUMNS] = beta;
            sc[t][i % COLUMNS] = decay;
        }
        barrier();
        [[dont_unroll]] for (uint t = 0; t < count; t++) {
            uint turn = t & 1u;
            float columnDecay = sc[t][lane], h = 0, p = 0;
            float d[DOTS] = float[DOTS](0, 0, 0, 0, 0);
            for (uint j = 0; j < ROWS; j++) {
                uint k = group * ROWS + j;
                float q = sq[t][k], key = sk[t][k], a = sa[t][k];
                float s = S[j] * (sd[t][k] * columnDecay);
                h += (has(UNDECAYED) ? S[j] : s) * a;
                p += s * q;
                d[QK] += q * key;
                d[QB] += q * sb[t][k];
                d[QQ] += q * q;
                d[KK] += key * key;
                d[AA] += a * a;
                S[j] = s;
            }
            part[turn][group][lane] = vec2(h, p);
            if (lane == 0) for (uint i = 0; i < DOTS; i++) dots[turn][group][i] = d[i];
            barrier();
            vec2 sum = vec2(0);
            for (uint i = 0; i < DOTS; i++) d[i] = 0;
            for (uint g = 0; g < GROUPS; g++) {
                sum += part[turn][g][lane];
                for (uint i = 0; i < DOTS; i++) d[i] += dots[turn][g][i];
            }
            float rq = 1, rk = 1, ra = 1;
            if (has(NORM)) {
                rq = inversesqrt(d[QQ] + 1e-6);
                rk = inversesqrt(d[KK] + 1e-6);
                ra = isNull(args.a) || has(ERASE_K) ? rk : inversesqrt(d[AA] + 1e-6);
            }
            float x = sv[t][lane];
            h = ra * sum.x;
            float u = !isNull(args.b) ? x : sbeta[t][lane] * (x - h);
            for (uint j = 0; j < ROWS; j++) {
                uint k = group * ROWS + j;
                S[j] += rk * sk[t][k] * u + sb[t][k] * h;
            }
            uint row = tokens.first * args.steps + (has(REVERSE) ? rows - 1 - t0 - t : t0 + t), token = row / args.steps;
            if (group == 0 && column < V && row + 1 == (token + 1) * args.steps) {
                float o = args.scale * rq * (sum.y + rk * d[QK] * u + d[QB] * h);
                storeT(atT(args.o, (uint64_t(token) * args.HV + head) * V), column, o);
            }
            if (hasEachToken && row + 1 == (token + 1) * args.steps) {
                storeState(S, has(TOKEN_STATES) ? int(token) : slotOf(n, 1 + token - tokens.first), head, group, column);
            }
        }
        barrier();
    }

    if (!hasEachToken) storeState(S, PAGED != 0 ? slotOf(n, 1) : int(n), head, group, column);
}
