// OUT, OUT-A, DV-loc and DQKG: what a chunk's tokens read from the state and from each other. One formula serves o and the gradients:
//   out_i = inter f_i (a_i S) + sum over j of A_ij c_j
//   f_i  = e^{G_i}, j <= i                                  forward: o, dq
//   f_i  = e^{G_C - G_i}, j >= i                            REVERSE: dk, dv
// MODE 0 (a scalar gate or none): A_ij = intra (a_i . b_j) e^{-|G_i - G_j|}
//   o: a, b, c = q, k, v, S = h        dq: do, v, k, S = h^T        dv: k, q, do, S = D        dk: v, do, q, S = D^T (STATE_T)
//   UNIT (no DOTS): a and b are divided by their lengths: A and e are 1 / |a| and 1 / |b|, fp32 [tokens, H].
//   DOTS: dots[workgroup's tiles, token, head] = sum over its columns of e_i out_i (for the gradient of the gate).
// MODE 1 (vector gate on a's channels): f_i scales a_i before the product, or with IS_GATED has done so; A is given; REVERSE reads its transpose.   o: a = q; dv: a = k
//   With b and gamma given, which are like c and A here, their product is added too.
// a, b [tokens, H, P]; c, out, e [tokens, H, Q]; states [chunks, H, P, Q] (STATE_T: [chunks, H, Q, P]); A [tokens, H, C], zero above the diagonal;
// gate: cumulative log decay in the chunk, fp32 [tokens, H], or null, or [tokens, H, P] by mode.
// NO_STATE leaves the first term out, TWO adds the second product.
// One workgroup a chunk and TILES tiles of 64 columns (x) and head (y).
// Cooperative matrices: a subgroup has rows of the chunk. Its rows of a, and of A, are operands in registers; b, the state and c pass through one place of
// shared memory, piece after piece, each read while the products of the one before run.
// @variants T=f32|f16|bf16 MM=plain|coopmat
// @exclude T=f32 MM=coopmat
// @requires MM=coopmat: cooperative_matrix
// @requires MM=coopmat T=bf16: bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "linear/decay.glsl"
#include "linear/sequences.glsl"
#extension GL_KHR_shader_subgroup_shuffle : require

layout(push_constant, scalar) uniform Args {
    TBuf a; TBuf b; TBuf c; F32Buf gate; F32Buf gamma; TBuf states; TBuf A; TBuf e; F32Buf dots; TBuf o; I32Buf packed;
    uint N; uint T; uint C; uint H; uint P; uint Q; float inter; float intra; float decayKind;
} args;

layout(local_size_x_id = 0) in;
layout(constant_id = 8) const bool ALIGNED = true;         // widths are multiples of 8, and tensors of 16 bytes
layout(constant_id = 9) const uint SLICE = 32;             // channels of a and b at a time
layout(constant_id = 10) const uint MODE = 0;
layout(constant_id = 11) const uint FLAGS = 0;
layout(constant_id = 12) const uint TILES = 1;             // tiles of 64 columns of the output that a workgroup makes
layout(constant_id = 13) const uint SLICES = 1;            // ceil(P / SLICE)
layout(constant_id = 14) const bool FULL = false;          // widths are multiples of 64 and SLICE
layout(constant_id = 15) const bool EVEN = false;          // every chunk has 64 tokens: no packed sequences
layout(constant_id = 16) const bool CHAIN = false;         // accumulators' components lie as operands' do

#define TILE_ALIGNED ALIGNED
#define TILE_WHOLE ALIGNED
#define TILE_SOLID FULL
#ifdef MM_coopmat
#define TILE_OWN_ROWS
#define TILE_BARE
const uint HALF = SLICE < 64 ? SLICE : 64u;                // rows of the state at a time
#define QUADS_ROWS tileQuads(64, SLICE)
#define QUADS_STATE (tileQuads(HALF, 64 * TILES) > tileQuads(64 * TILES, HALF) ? tileQuads(HALF, 64 * TILES) : tileQuads(64 * TILES, HALF))
#define QUADS_VALUES tileQuads(64, 64 * TILES)
#define QUADS_FLOATS (128 * (64 / 4 + 1))
#define QUADS_READ (QUADS_ROWS > QUADS_STATE ? QUADS_ROWS : QUADS_STATE)
#define QUADS_PIECE (QUADS_READ > QUADS_VALUES ? QUADS_READ : QUADS_VALUES)
#define PLACE (TILE_CPU ? QUADS_ROWS + tileQuads(64, 64) : 0u)       // of the pieces: a CPU driver's operands stay before them
#define TILE_QUADS (PLACE + QUADS_PIECE > QUADS_FLOATS ? PLACE + QUADS_PIECE : QUADS_FLOATS)
#define TILE_VECTOR 208
#define TILE_NUMBERS 192
#else
// Either SLICE columns of a and b and SLICE rows of S, or A and SLICE rows of c.
#define OPERAND (tileQuads(64, SLICE) > tileQuads(SLICE, 64) ? tileQuads(64, SLICE) : tileQuads(SLICE, 64))
#define QUADS_READ ((2 + TILES) * OPERAND)
#define QUADS_SCORES (tileQuads(64, 64) + TILES * tileQuads(SLICE, 64))
#define TILE_QUADS (QUADS_READ > QUADS_SCORES ? QUADS_READ : QUADS_SCORES)
#define TILE_VECTOR 192
#endif
#include "common/tile.glsl"
#include "linear/chunk_tiles.glsl"
#include "linear/chunk_rows.glsl"

const uint NO_STATE = 4, TWO = 8;
const bool DOTS = (FLAGS & 16) != 0, UNIT = (FLAGS & 64) != 0;
const bool GATES_ROWS = MODE == 1 ? (FLAGS & 32) == 0 : false;    // IS_GATED is 32

uint P = args.P, Q = args.Q, H = args.H, head = gl_WorkGroupID.y;
const bool reverse = (FLAGS & REVERSE) != 0, stateT = (FLAGS & STATE_T) != 0, hasState = (FLAGS & NO_STATE) == 0;
const uint GIVEN = (FLAGS & TWO) != 0 ? 2u : 1u;           // products within the chunk
uint q0;

// tileVector: f inter of the chunk's tokens, and from 64 on their G; beyond the chunk's end those of its last. UNIT: G of rows and, from 128 on, of columns
// have the logarithms of the lengths of a and b in them.
void stageDecays(uint64_t token, uint count) {
    float headGate = headDecay(args.gamma, args.decayKind, head);
    for (uint i = gl_LocalInvocationIndex; i < 64; i += gl_WorkGroupSize.x) {
        uint r = min(i, count - 1);
        float g = headGate * float(r + 1), last = headGate * float(count);
        if (!isNull(args.gate)) {
            g += atF(args.gate, token).v[r * H];
            last += atF(args.gate, token).v[(count - 1) * H];
        }
        float f = args.inter * exp(reverse ? last - g : g);
        if (UNIT) {
            float a = atF(F32Buf(uint64_t(args.A)), token).v[r * H], b = log(atF(F32Buf(uint64_t(args.e)), token).v[r * H]);
            f *= a;
            tileVector[128 + i] = reverse ? g + b : g - b;
            g = reverse ? g - log(a) : g + log(a);
        }
        tileVector[64 + i] = g;
        tileVector[i] = f;
    }
}

// e^{G} of a channel's decay G at a token, or of what is left of it to the chunk's end.
vec4 decayFactor(vec4 g, vec4 last) { return exp(reverse ? last - g : g); }

// Where row r of the given products A has its columns from c on; the place of others if there is none.
uint givenAt(uint r, uint c, uint count) { return r < count && c < args.C ? r * H * args.C + c : 0; }

#ifdef MM_coopmat
#include "linear/chunk_out_coopmat.glsl"
#else
#include "linear/chunk_out_plain.glsl"
#endif

void main() {
    uint groups = (Q + 64 * TILES - 1) / (64 * TILES);
    uint chunkIndex = gl_WorkGroupID.x / groups, group = gl_WorkGroupID.x % groups;
    q0 = group * TILES * 64;
    Chunk chunk = Chunk(0, 0, Span(chunkIndex * 64, 64));
    if (!EVEN) chunk = chunkAt(args.packed, args.N, chunkIndex, args.T, args.C);
    if (chunk.sequence < 0) return;
    chunkOut(chunk.tokens.first, EVEN ? 64 : chunk.tokens.count, (uint64_t(chunkIndex) * H + head) * P * Q,
        (uint64_t(group) * (isNull(args.packed) ? args.N * args.T : args.T) + chunk.tokens.first) * H + head);
}
