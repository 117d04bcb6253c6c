namespace Fla.Vulkan.Ops;

public static partial class LinearOps
{
    /// <summary>Gated linear attention in chunks: one decay for each key channel, S ← diag(e^g) S + k vᵀ, o = scale · Sᵀ q (Yang et al. 2024).</summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="g">Log decay [B,T,H,K], any float type, at most 0; its gradient is fp32.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,H,K,V], fp32; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="stateVFirst">States are [N,H,V,K] instead.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="chunkSize">Tokens of a chunk: 16, 32 or 64; by default 64, or the power of 2 from 16 on that T fits in. Changes speed, not results.</param>
    /// <returns>o [B,T,H,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together, or another chunk size.</exception>
    /// <exception cref="DTypeException">q, k, v of different types or not floats, or an initial state that is not fp32.</exception>
    public static (Tensor O, Tensor? FinalState) ChunkGla(Tensor q, Tensor k, Tensor v, Tensor g, float? scale = null, Tensor? initialState = null,
        bool outputFinalState = false, bool stateVFirst = false, CuSeqlens? cuSeqlens = null, int? chunkSize = null)
    {
        ArgumentNullException.ThrowIfNull(g);
        Require.Type(initialState, DType.Float32, "initialState");
        return ChunkChannelGated(q, k, v, g, scale, initialState, outputFinalState, stateVFirst, cuSeqlens, chunkSize);
    }

    /// <summary>Removed, as in fla: throws.</summary>
    /// <exception cref="NotSupportedException">Always.</exception>
    [Obsolete("fused_chunk_gla was removed: use ChunkGla")]
    public static (Tensor O, Tensor? FinalState) FusedChunkGla(Tensor q, Tensor k, Tensor v, Tensor g, float? scale = null, Tensor? initialState = null,
        bool outputFinalState = false) =>
        throw new NotSupportedException("fused_chunk_gla was removed: use ChunkGla, which gives the same results");

    /// <summary>Gated linear attention, one token after another: S ← diag(e^gk) S diag(e^gv) + k vᵀ, o = scale · Sᵀ q.</summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="gk">Log decay of key channels [B,T,H,K], any float type; its gradient is fp32.</param>
    /// <param name="gv">Log decay of value channels [B,T,H,V], any float type; its gradient is fp32.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,H,K,V], fp32; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="reverse">Scans every sequence from its last token to its first.</param>
    /// <param name="stateVFirst">States are [N,H,V,K] instead.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="finalState">Where the final state is written, if no gradients are recorded; may be <paramref name="initialState"/> itself.</param>
    /// <returns>o [B,T,H,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">q, k, v of different types or not floats, or an initial state that is not fp32.</exception>
    public static (Tensor O, Tensor? FinalState) FusedRecurrentGla(Tensor q, Tensor k, Tensor v, Tensor? gk = null, Tensor? gv = null, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = false, bool reverse = false, bool stateVFirst = false, CuSeqlens? cuSeqlens = null,
        Tensor? finalState = null)
    {
        Require.Type(initialState, DType.Float32, "initialState");
        return Recurrent(q, k, v, new(null, default, gk, gv), scale, initialState, outputFinalState, reverse, stateVFirst, cuSeqlens, finalState);
    }

    /// <summary>The same with gates of low rank, which the recurrence makes itself: for decoding, without gradients.</summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="gate">The gates of key channels.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,H,K,V], fp32; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="stateVFirst">States are [N,H,V,K] instead.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="finalState">Where the final state is written; may be <paramref name="initialState"/> itself.</param>
    /// <returns>o [B,T,H,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">Tensors of different types or not floats, or an initial state that is not fp32.</exception>
    /// <exception cref="AutogradException">A gradient would be needed.</exception>
    public static (Tensor O, Tensor? FinalState) FusedRecurrentGla(Tensor q, Tensor k, Tensor v, LowRankGate gate, float? scale = null, Tensor? initialState = null,
        bool outputFinalState = false, bool stateVFirst = false, CuSeqlens? cuSeqlens = null, Tensor? finalState = null)
    {
        Require.Type(initialState, DType.Float32, "initialState");
        Require.SameDevice(q, gate.Input, gate.Weight, gate.Bias);
        gate.Check(LinearShape.Of(q, k, v, cuSeqlens), q.DType);
        return Recurrent(q, k, v, new(null, default) { LowRank = gate }, scale, initialState, outputFinalState, false, stateVFirst, cuSeqlens, finalState);
    }
}
