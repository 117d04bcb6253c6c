namespace Fla.Vulkan.Ops;

public static partial class LinearOps
{
    /// <summary>Retention in chunks: constant decay ln(1 − 2^(−5−h)) of head h (Sun et al. 2023).</summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,H,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="chunkSize">Tokens of a chunk: 16, 32 or 64; changes speed, not results.</param>
    /// <returns>o [B,T,H,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together, or another chunk size.</exception>
    /// <exception cref="DTypeException">q, k, v of different types, or not floats.</exception>
    public static (Tensor O, Tensor? FinalState) ChunkRetention(Tensor q, Tensor k, Tensor v, float? scale = null, Tensor? initialState = null,
        bool outputFinalState = false, CuSeqlens? cuSeqlens = null, int chunkSize = DefaultChunk) =>
        ChunkHeadGated(q, k, v, null, HeadDecay.Retention, scale, initialState, outputFinalState, false, cuSeqlens, chunkSize);

    /// <summary>As <see cref="ChunkRetention"/>, one workgroup walking the chunks of a sequence with the state on chip.</summary>
    /// <inheritdoc cref="ChunkRetention"/>
    public static (Tensor O, Tensor? FinalState) FusedChunkRetention(Tensor q, Tensor k, Tensor v, float? scale = null, Tensor? initialState = null,
        bool outputFinalState = false, CuSeqlens? cuSeqlens = null) =>
        FusedChunkHeadGated(q, k, v, null, HeadDecay.Retention, scale, initialState, outputFinalState, cuSeqlens);

    /// <summary>As <see cref="ChunkRetention"/>, one token after another.</summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,H,V].</param>
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
    public static (Tensor O, Tensor? FinalState) FusedRecurrentRetention(Tensor q, Tensor k, Tensor v, float? scale = null, Tensor? initialState = null,
        bool outputFinalState = false, bool reverse = false, bool stateVFirst = false, CuSeqlens? cuSeqlens = null, Tensor? finalState = null) =>
        Recurrent(q, k, v, new(null, HeadDecay.Retention), scale, initialState, outputFinalState, reverse, stateVFirst, cuSeqlens, finalState);
}
