// The levels of a chunk's pairs (chunk_scores.comp): at level `width` a block of 2 width tokens pairs its upper half (rows) with its lower half.
bool isUpper(uint r, uint width) { return (r & width) != 0; }
bool isLevelPair(uint r, uint s, uint width) { return r / (2 * width) == s / (2 * width) && isUpper(r, width) && !isUpper(s, width); }

// First token of the upper half of the block that r lies in.
uint levelReference(uint r, uint width) { return (r & ~(2 * width - 1)) | width; }

// e^{G_r - rho} for a row (an exclusive one: e^{G_{r-1} - rho}), e^{rho - G_r} for a column, rho = G of the token before the upper half: never above 1
// for decays.
vec4 levelFactor(F32Buf gates, uint r, uint c, uint width, uint channels, uint stride, uint count, bool exclusive) {
    uint at = exclusive && isUpper(r, width) ? r - 1 : r;
    vec4 difference = rowQuadF(gates, at, c, channels, stride, count) - rowQuadF(gates, levelReference(r, width) - 1, c, channels, stride, count);
    return exp(isUpper(r, width) ? difference : -difference);
}

// Elements (r, c..c+3) of a level's tile: rows from a, columns from b, times their factors; zero where the block has no upper half.
vec4 levelElements(TBuf a, TBuf b, F32Buf gates, uint r, uint c, uint width, uint channels, uint stride, uint count, bool exclusive) {
    bool exist = r < count && levelReference(r, width) < count;
    uint row = exist ? r : count;
    vec4 x = isUpper(r, width) ? widen(rowQuad(a, row, c, channels, stride, count)) : widen(rowQuad(b, row, c, channels, stride, count));
    return exist ? x * levelFactor(gates, r, c, width, channels, stride, count, exclusive) : vec4(0);
}
