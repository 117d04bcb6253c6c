namespace Fla.Vulkan.Ops;

public static partial class LinearOps
{
    /// <summary>
    /// Linear attention with one decay a head and token, in chunks: S ← e^g S + k vᵀ, o = scale · Sᵀ q. Mamba-2 is this op with q = C, k = B, v = x·Δ,
    /// g = A·Δ and scale 1 (Dao and Gu 2024).
    /// </summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="g">Log decay [B,T,H], any float type; its gradient is fp32.</param>
    /// <param name="gGamma">Constant log decay of every head [H], fp32, without a gradient; it multiplies with <paramref name="g"/>.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,H,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="stateVFirst">States are [N,H,V,K] instead.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="chunkSize">Tokens of a chunk: 16, 32 or 64; changes speed, not results.</param>
    /// <returns>o [B,T,H,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together, or another chunk size.</exception>
    /// <exception cref="DTypeException">q, k, v of different types, or not floats.</exception>
    public static (Tensor O, Tensor? FinalState) ChunkSimpleGla(Tensor q, Tensor k, Tensor v, Tensor? g = null, Tensor? gGamma = null, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = false, bool stateVFirst = false, CuSeqlens? cuSeqlens = null, int chunkSize = DefaultChunk) =>
        ChunkHeadGated(q, k, v, g, new(gGamma), scale, initialState, outputFinalState, stateVFirst, cuSeqlens, chunkSize);

    /// <summary>As <see cref="ChunkSimpleGla"/>, one workgroup walking the chunks of a sequence with the state on chip.</summary>
    /// <exception cref="ArgumentException">Both <paramref name="g"/> and <paramref name="gGamma"/> are given.</exception>
    /// <inheritdoc cref="ChunkSimpleGla"/>
    public static (Tensor O, Tensor? FinalState) FusedChunkSimpleGla(Tensor q, Tensor k, Tensor v, Tensor? g = null, Tensor? gGamma = null, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = false, CuSeqlens? cuSeqlens = null)
    {
        if (g is not null && gGamma is not null) throw new ArgumentException("g and gGamma cannot be given at once", nameof(gGamma));
        return FusedChunkHeadGated(q, k, v, g, new(gGamma), scale, initialState, outputFinalState, cuSeqlens);
    }

    /// <summary>As <see cref="ChunkSimpleGla"/>, one token after another.</summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="g">Log decay [B,T,H], any float type; its gradient is fp32.</param>
    /// <param name="gGamma">Constant log decay of every head [H], fp32, without a gradient.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,H,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="reverse">Scans every sequence from its last token to its first.</param>
    /// <param name="stateVFirst">States are [N,H,V,K] instead.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="finalState">Where the final state is written, if no gradients are recorded; may be <paramref name="initialState"/> itself.</param>
    /// <returns>o [B,T,H,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">q, k, v of different types, or not floats.</exception>
    public static (Tensor O, Tensor? FinalState) FusedRecurrentSimpleGla(Tensor q, Tensor k, Tensor v, Tensor? g = null, Tensor? gGamma = null, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = false, bool reverse = false, bool stateVFirst = false, CuSeqlens? cuSeqlens = null,
        Tensor? finalState = null) =>
        Recurrent(q, k, v, new(g, new(gGamma)), scale, initialState, outputFinalState, reverse, stateVFirst, cuSeqlens, finalState);
}
