namespace Fla.Vulkan.Ops;

public static partial class LinearOps
{
    /// <summary>Lightning attention in chunks: constant decay −(8/H)(1 − layerIdx/numLayers)·h of head h, so head 0 never forgets (Qin et al. 2024).</summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="layerIdx">Index of the layer, from 0.</param>
    /// <param name="numLayers">Number of layers of the model.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,H,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <returns>o [B,T,H,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="layerIdx"/> is not a layer of <paramref name="numLayers"/>.</exception>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">q, k, v of different types, or not floats.</exception>
    public static (Tensor O, Tensor? FinalState) ChunkLightningAttn(Tensor q, Tensor k, Tensor v, int layerIdx, int numLayers, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = false, CuSeqlens? cuSeqlens = null) =>
        ChunkHeadGated(q, k, v, null, LightningDecay(q, layerIdx, numLayers), scale, initialState, outputFinalState, false, cuSeqlens, DefaultChunk);

    /// <summary>As <see cref="ChunkLightningAttn"/>, one token after another.</summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="layerIdx">Index of the layer, from 0.</param>
    /// <param name="numLayers">Number of layers of the model.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,H,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="reverse">Scans every sequence from its last token to its first.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="finalState">Where the final state is written, if no gradients are recorded; may be <paramref name="initialState"/> itself.</param>
    /// <returns>o [B,T,H,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="layerIdx"/> is not a layer of <paramref name="numLayers"/>.</exception>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">q, k, v of different types, or not floats.</exception>
    public static (Tensor O, Tensor? FinalState) FusedRecurrentLightningAttn(Tensor q, Tensor k, Tensor v, int layerIdx, int numLayers, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = false, bool reverse = false, CuSeqlens? cuSeqlens = null, Tensor? finalState = null) =>
        Recurrent(q, k, v, new(null, LightningDecay(q, layerIdx, numLayers)), scale, initialState, outputFinalState, reverse, false, cuSeqlens, finalState);

    private static HeadDecay LightningDecay(Tensor q, int layerIdx, int numLayers)
    {
        ArgumentNullException.ThrowIfNull(q);
        ArgumentOutOfRangeException.ThrowIfNegative(layerIdx);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(layerIdx, numLayers);
        Require.Rank(q, 4, "q");
        return HeadDecay.Lightning(q.Size(2), layerIdx, numLayers);
    }
}
