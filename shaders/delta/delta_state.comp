// STATE-delta: walks the chunks of a sequence with 64 columns of the state S [K, V] in K / 64 accumulators, and stores S at each chunk.
//   out = base + f * (x S);   S <- e^{G_C} S + (f' * y)^T out + (f'' * z)^T w
//   forward: states[c] enters chunk c.  delta rule: f = sign = -1, x = W, base = U, f' = e^{G_C - G}, y = k, no z; out = V~
//     generalized: f = sign = 1, y = b e^{G_C - G}, z = k e^{G_C - G}, w = v, f' = f'' = 1
//   REVERSE: states[c] is the gradient of the state leaving chunk c.  f = e^{G_C - G}, x = k (b), base = A^T do, y = W, f' = sign, z = q, w = do,
//     f'' = scale e^G; out = dV~
// With a gate of channels the e^G factors are expected in y and z (in reverse x and z), and S decays by rows.
// x, y, z [tokens, H, K]; base, w, out [tokens, H, V]; gate: cumulative log decay in the chunk, fp32 [tokens, H] or [tokens, H, K] by GATE;
// initial, final fp32 [N, H, K, V] (INITIAL_T, FINAL_T: [N, H, V, K]) or null; states [chunks, H, K, V].
// One workgroup a tile of 64 columns (x), head (y) and sequence (z).
// @variants T=f32|f16|bf16 MM=plain|coopmat
// @exclude T=f32 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/sequences.glsl"

layout(push_constant, scalar) uniform Args {
    TBuf x; TBuf base; TBuf y; TBuf z; TBuf w; F32Buf gate; F32Buf initial; F32Buf final; TBuf states; TBuf o; I32Buf packed;
    uint N; uint T; uint C; uint H; uint K; uint V; float sign; float scale;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // chunk_tiles.glsl
layout(constant_id = 10) const uint STATES = 1;            // ceil(K / 64)
layout(constant_id = 11) const uint GATE = 0;
layout(constant_id = 12) const uint FLAGS = 0;

const uint REVERSE = 1, INITIAL_T = 2, FINAL_T = 4, HAS_Z = 8;

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
// Either SLICE columns of x and SLICE rows of S; or out (w) and SLICE rows of y (z).
#define QUADS_READ (tileQuads(64, SLICE) + tileQuads(SLICE, 64))
#define QUADS_WRITE (tileQuads(64, 64) + tileQuads(SLICE, 64))
#define TILE_QUADS (QUADS_READ > QUADS_WRITE ? QUADS_READ : QUADS_WRITE)
#define TILE_VECTOR 512
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "delta/gates.glsl"
#include "delta/save.glsl"

uint K = args.K, V = args.V, H = args.H, head = gl_WorkGroupID.y, v0 = gl_WorkGroupID.x * 64;
const bool reverse = (FLAGS & REVERSE) != 0;

vec4 loadState(uint64_t at, uint k, uint v) {
    if ((FLAGS & INITIAL_T) == 0) return loadTail4F(atF(args.initial, at), k * V + v, k < K ? int(V) - int(v) : 0);
    vec4 s = vec4(0);
    [[unroll]] for (uint e = 0; e < 4; e++) if (k < K && v + e < V) s[e] = atF(args.initial, at).v[(v + e) * K + k];
    return s;
}

void storeState(uint64_t at, uint k, uint v, vec4 s) {
    if (k >= K) return;
    if ((FLAGS & FINAL_T) == 0) storeTail4F(atF(args.final, at), k * V + v, int(V) - int(v), s);
    else [[unroll]] for (uint e = 0; e < 4; e++) if (v + e < V) atF(args.final, at).v[(v + e) * K + k] = s[e];
}

void main() {
    uint n = gl_WorkGroupID.z, lane = gl_LocalInvocationIndex;
    Span sequence = sequenceSpan(args.packed, n, args.T);
    uint chunks = (sequence.count + args.C - 1) / args.C;
    uint first = firstChunk(args.packed, args.N, n, args.T, args.C);
    uint64_t corner = (uint64_t(n) * H + head) * K * V;
    Tile x = Tile(0, tileStride(SLICE), false), part = Tile(tileQuads(64, SLICE), tileStride(64), false);
    Tile values = Tile(0, tileStride(64), false), keys = Tile(tileQuads(64, 64), tileStride(64), false);

    Acc S[STATES];
    [[unroll]] for (uint t = 0; t < STATES; t++) {
        accZero(S[t]);
        if (!isNull(args.initial)) ACC_SET(S[t], r, c, loadState(corner, t * 64 + r, v0 + c))
    }

    [[dont_unroll]] for (uint i = 0; i < chunks; i++) {
        uint index = reverse ? chunks - 1 - i : i;
        uint start = sequence.first + index * args.C, count = min(args.C, sequence.count - index * args.C);
        uint64_t token = uint64_t(start) * H + head;

        // tileVector: G of the tokens (heads), factors of rows of x S, y and z; from 256 on decays of the state's rows (channels).
        if (lane < 64) {
            if (GATE == HEADS) tileVector[lane] = atF(args.gate, token).v[min(lane, count - 1) * H];
            tileVector[64 + lane] = reverse ? 1.0 : args.sign;
            tileVector[128 + lane] = reverse ? args.sign : 1.0;
            tileVector[192 + lane] = args.scale;
        }
        if (GATE == CHANNELS) {
            for (uint c = lane; c < 64 * STATES; c += gl_WorkGroupSize.x) {
                tileVector[256 + c] = exp(atF(args.gate, token * K).v[(count - 1) * H * K + min(c, K - 1)]);
            }
        }
        barrier();
        if (GATE == HEADS && lane < 64) {
            float g = tileVector[lane], last = tileVector[63];
            if (reverse) {
                tileVector[64 + lane] = exp(last - g);
                tileVector[192 + lane] = args.scale * exp(g);
            } else tileVector[128 + lane] = exp(last - g);
        }

        TBuf rowsX = atT(args.x, token * K), rowsY = atT(args.y, token * K);
        TBuf states = atT(args.states, (uint64_t(first + index) * H + head) * K * V);
        Acc acc;
        accZero(acc);
        [[unroll]] for (uint t = 0; t < STATES; t++) {
            [[dont_unroll]] for (uint p = 0; p < 64; p += SLICE) {
                uint k0 = t * 64 + p;
                TILE_ROWS(x, 64, SLICE, rowsX, 0, k0, K, H * K, count)
                ACC_EACH(S[t], r, c, s, if (r / SLICE == p / SLICE) tilePut(part, r % SLICE, c, s);)
                barrier();
                TILE_SAVE(part, SLICE, 64, states, r, c, (k0 + r) * V + v0 + c, (k0 + r < K ? int(V) - int(v0 + c) : 0))
                mma(acc, x, part, SLICE);
                barrier();
            }
        }
        TBuf base = atT(args.base, token * V), o = atT(args.o, token * V);
        ACC_PUT(acc, values, r, c, s, widen(rowQuad(base, r, v0 + c, V, H * V, count)) + tileVector[64 + r] * s)
        [[unroll]] for (uint t = 0; t < STATES; t++) {
            if (GATE == CHANNELS) {
                accScaleRows(S[t], 256 + 64 * t);
            } else if (GATE == HEADS) {
                accScale(S[t], exp(tileVector[63]));
            }
            [[dont_unroll]] for (uint s0 = 0; s0 < 64; s0 += SLICE) {
                TILE_SCALED_ROWS(keys, SLICE, 64, rowsY, s0, t * 64, K, H * K, count, r, tileVector[128 + s0 + r])
                barrier();
                mma(S[t], T(keys), Tile(values.at + s0 * values.stride, values.stride, false), SLICE);
                barrier();
            }
        }
        TILE_SAVE(values, 64, 64, o, r, c, r * H * V + v0 + c, (r < count ? int(V) - int(v0 + c) : 0))
        if ((FLAGS & HAS_Z) != 0) {
            TBuf rowsZ = atT(args.z, token * K), rowsW = atT(args.w, token * V);
            barrier();
            TILE_ROWS(values, 64, 64, rowsW, 0, v0, V, H * V, count)
            [[unroll]] for (uint t = 0; t < STATES; t++) {
                [[dont_unroll]] for (uint s0 = 0; s0 < 64; s0 += SLICE) {
                    TILE_SCALED_ROWS(keys, SLICE, 64, rowsZ, s0, t * 64, K, H * K, count, r, tileVector[192 + s0 + r])
                    barrier();
                    mma(S[t], T(keys), Tile(values.at + s0 * values.stride, values.stride, false), SLICE);
                    barrier();
                }
            }
        }
        barrier();
    }
    if (isNull(args.final)) return;
    [[unroll]] for (uint t = 0; t < STATES; t++) ACC_EACH(S[t], r, c, s, storeState(corner, t * 64 + r, v0 + c, s);)
}
