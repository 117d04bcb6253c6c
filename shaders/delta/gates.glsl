// What the delta kernels know of gates: none, one a head and token, or one a channel. G is the cumulative log decay in a chunk.
const uint HEADS = 1, CHANNELS = 2;

// e^{G_r}, for exclusive rows e^{G_{r-1}}, of four channels: what row r, below count, still sees of the state entering the chunk.
vec4 entryFactor(F32Buf gates, uint r, uint c, uint width, uint stride, uint count, bool exclusive) {
    if (!exclusive) return exp(rowQuadF(gates, r, c, width, stride, count));
    return r == 0 ? vec4(1) : exp(rowQuadF(gates, max(r, 1) - 1, c, width, stride, count));
}
