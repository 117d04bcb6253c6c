namespace Fla.Vulkan.Ops;

public static partial class DeltaOps
{
    /// <summary>RWKV-7 (Peng et al. 2025), in chunks: <see cref="ChunkDplrDeltaRule"/> with q = r and gk = w, and a scale of 1.</summary>
    /// <param name="r">Receptances [B,T,H,K].</param>
    /// <param name="w">Log decay [B,T,H,K], any float type.</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="a">What the correction reads [B,T,H,K].</param>
    /// <param name="b">Where it is written [B,T,H,K].</param>
    /// <param name="scale">Factor of r.</param>
    /// <param name="initialState">State before the first token [N,H,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="chunkSize">Tokens of a chunk: 16, 32 or 64; changes speed, not results.</param>
    /// <returns>o [B,T,H,V] in r's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together, or another chunk size.</exception>
    /// <exception cref="DTypeException">r, k, v, a, b of different types, or not floats.</exception>
    public static (Tensor O, Tensor? FinalState) ChunkRwkv7(Tensor r, Tensor w, Tensor k, Tensor v, Tensor a, Tensor b, float scale = 1,
        Tensor? initialState = null, bool outputFinalState = false, CuSeqlens? cuSeqlens = null, int chunkSize = ChunkTiles.Size)
    {
        ArgumentNullException.ThrowIfNull(w);
        return ChunkDplrDeltaRule(r, k, v, a, b, w, scale, initialState, outputFinalState, cuSeqlens, chunkSize);
    }

    /// <summary>
    /// RWKV-7 (Peng et al. 2025), one token after another: <see cref="FusedRecurrentDplrDeltaRule"/> with q = r and gk = w. Its defaults are fla's and differ from
    /// those of the chunked form: the scale is K^(-1/2), and the final state is returned.
    /// </summary>
    /// <param name="r">Receptances [B,T,H,K].</param>
    /// <param name="w">Log decay [B,T,H,K], any float type.</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="a">What the correction reads [B,T,H,K].</param>
    /// <param name="b">Where it is written [B,T,H,K].</param>
    /// <param name="scale">Factor of r; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,H,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="finalState">Where the final state is written, if no gradients are recorded; may be <paramref name="initialState"/> itself.</param>
    /// <returns>o [B,T,H,V] in r's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">r, k, v, a, b of different types, or not floats.</exception>
    public static (Tensor O, Tensor? FinalState) FusedRecurrentRwkv7(Tensor r, Tensor w, Tensor k, Tensor v, Tensor a, Tensor b, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = true, CuSeqlens? cuSeqlens = null, Tensor? finalState = null)
    {
        ArgumentNullException.ThrowIfNull(w);
        return FusedRecurrentDplrDeltaRule(r, k, v, a, b, w, scale, initialState, outputFinalState, false, cuSeqlens, finalState);
    }

    /// <summary>RWKV-7's decoding form, which forms the correction itself: reads −kk, writes kk ⊙ a.</summary>
    /// <param name="r">Receptances [B,T,H,K].</param>
    /// <param name="w">Log decay [B,T,H,K], any float type.</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="kk">Removal keys [B,T,H,K], of unit length.</param>
    /// <param name="a">In-context learning rates [B,T,H,K].</param>
    /// <param name="scale">Factor of r.</param>
    /// <param name="initialState">State before the first token [N,H,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="reverse">Scans every sequence from its last token to its first; without gradients.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="finalState">Where the final state is written, if no gradients are recorded; may be <paramref name="initialState"/> itself.</param>
    /// <returns>o [B,T,H,V] in r's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">r, k, v, kk, a of different types, or not floats.</exception>
    /// <exception cref="AutogradException">reverse, and an input requires a gradient.</exception>
    public static (Tensor O, Tensor? FinalState) FusedMulRecurrentRwkv7(Tensor r, Tensor w, Tensor k, Tensor v, Tensor kk, Tensor a, float scale = 1,
        Tensor? initialState = null, bool outputFinalState = false, bool reverse = false, CuSeqlens? cuSeqlens = null, Tensor? finalState = null)
    {
        ArgumentNullException.ThrowIfNull(w);
        var rule = Dplr(r, k, v, kk, a, w, scale, initialState, outputFinalState, cuSeqlens);
        return (rule with { Names = ("kk", "a"), IsProduct = true, Reverse = reverse }).Recurrent(finalState);
    }
}
