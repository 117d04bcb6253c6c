// What chunk_out.comp and fused_chunk.comp share beyond chunk_tiles.glsl. tileVector[64..] holds G of the chunk's tokens.
const uint REVERSE = 1, STATE_T = 2;

// Four scores of row i from column j on, gated and masked: j <= i, or in reverse j >= i. (Tokens that are not there have none: they are zero already.)
vec4 maskedScores(uint i, uint j, vec4 x, bool reverse, float scale) {
    vec4 g = vec4(tileVector[64 + j], tileVector[65 + j], tileVector[66 + j], tileVector[67 + j]);
    vec4 y = scale * x * exp(-abs(vec4(tileVector[64 + i]) - g));
    uvec4 columns = uvec4(j) + uvec4(0, 1, 2, 3);
    return mix(vec4(0), y, reverse ? greaterThanEqual(columns, uvec4(i)) : lessThanEqual(columns, uvec4(i)));
}
