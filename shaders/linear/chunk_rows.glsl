// What chunk_out.comp and fused_chunk.comp share beyond chunk_tiles.glsl. tileVector[64..] holds G of the chunk's tokens; where rows are divided by their lengths
// (isUnit) those of columns begin at 128, and the difference has both logarithms of a length in it.
const uint REVERSE = 1, STATE_T = 2;

// The log decay between a row and a column of the half that is kept.
#define decayBetween(g, other, reverse, isUnit) (!isUnit ? -abs((g) - (other)) : reverse ? (other) - (g) : (g) - (other))

// Four scores of row i from column j on, gated and masked: j <= i, or in reverse j >= i. (Tokens that are not there have none: they are zero already.)
vec4 maskedScores(uint i, uint j, vec4 x, bool reverse, float scale, bool isUnit) {
    uint at = isUnit ? 128 + j : 64 + j;
    vec4 g = vec4(tileVector[at], tileVector[at + 1], tileVector[at + 2], tileVector[at + 3]);
    vec4 y = scale * x * exp(decayBetween(vec4(tileVector[64 + i]), g, reverse, isUnit));
    uvec4 columns = uvec4(j) + uvec4(0, 1, 2, 3);
    return mix(vec4(0), y, reverse ? greaterThanEqual(columns, uvec4(i)) : lessThanEqual(columns, uvec4(i)));
}
