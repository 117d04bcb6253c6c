// What chunk_out.comp and fused_chunk.comp share beyond chunk_tiles.glsl. tileVector[64..] holds G of the chunk's tokens.
const uint REVERSE = 1, STATE_T = 2;

// Four scores of row i from column j on, gated and masked: j <= i, or in reverse j >= i.
vec4 maskedScores(uint i, uint j, vec4 x, uint count, bool reverse, float scale) {
    vec4 y = vec4(0);
    [[unroll]] for (uint e = 0; e < 4; e++) {
        bool seen = reverse ? j + e >= i && j + e < count : j + e <= i;
        if (seen && i < count) y[e] = scale * x[e] * exp(-abs(tileVector[64 + i] - tileVector[64 + j + e]));
    }
    return y;
}
