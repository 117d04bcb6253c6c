namespace Fla.Vulkan.Ops;

public static partial class LinearOps
{
    /// <summary>
    /// Linear attention in chunks: S ← S + k vᵀ, o = scale · Sᵀ q, divided by scale · q·z + 1e-10 with z the sum of keys so far when
    /// <paramref name="normalize"/> is set (Katharopoulos et al. 2020).
    /// </summary>
    /// <param name="q">Queries [B,T,H,K], after the feature map.</param>
    /// <param name="k">Keys [B,T,H,K], after the feature map.</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,H,K,V]; zero when null.</param>
    /// <param name="initialNormalizer">Sum of keys before the first token [N,1,H,K]; zero when null; only with <paramref name="normalize"/>.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="normalize">Whether to divide.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <returns>o [B,T,H,V] in q's type; the final state (fp32) if asked for; with normalization the sum of all keys [N,1,H,K] (fp32).</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">q, k, v of different types, or not floats.</exception>
    public static (Tensor O, Tensor? FinalState, Tensor? FinalNormalizer) ChunkLinearAttn(Tensor q, Tensor k, Tensor v, float? scale = null,
        Tensor? initialState = null, Tensor? initialNormalizer = null, bool outputFinalState = false, bool normalize = true, CuSeqlens? cuSeqlens = null)
    {
        using var scope = new TensorScope();
        var (o, state) = ChunkHeadGated(q, k, v, null, default, scale, initialState, outputFinalState, false, cuSeqlens, DefaultChunk);
        return Normalized(scope, o, state, q, k, v, scale, initialNormalizer, normalize, false, cuSeqlens);
    }

    /// <summary>As <see cref="ChunkLinearAttn"/>, one workgroup walking the chunks of a sequence with the state on chip.</summary>
    /// <inheritdoc cref="ChunkLinearAttn"/>
    public static (Tensor O, Tensor? FinalState, Tensor? FinalNormalizer) FusedChunkLinearAttn(Tensor q, Tensor k, Tensor v, float? scale = null,
        Tensor? initialState = null, Tensor? initialNormalizer = null, bool outputFinalState = false, bool normalize = true, CuSeqlens? cuSeqlens = null)
    {
        using var scope = new TensorScope();
        var (o, state) = FusedChunkHeadGated(q, k, v, null, default, scale, initialState, outputFinalState, cuSeqlens);
        return Normalized(scope, o, state, q, k, v, scale, initialNormalizer, normalize, false, cuSeqlens);
    }

    /// <summary>As <see cref="ChunkLinearAttn"/>, one token after another, and by default without division.</summary>
    /// <param name="q">Queries [B,T,H,K], after the feature map.</param>
    /// <param name="k">Keys [B,T,H,K], after the feature map.</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,H,K,V]; zero when null.</param>
    /// <param name="initialNormalizer">Sum of keys before the first token [N,1,H,K]; zero when null; only with <paramref name="normalize"/>.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="reverse">Scans every sequence from its last token to its first.</param>
    /// <param name="normalize">Whether to divide.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="finalState">Where the final state is written, if no gradients are recorded; may be <paramref name="initialState"/> itself.</param>
    /// <returns>o [B,T,H,V] in q's type; the final state (fp32) if asked for; with normalization the sum of all keys [N,1,H,K] (fp32).</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">q, k, v of different types, or not floats.</exception>
    public static (Tensor O, Tensor? FinalState, Tensor? FinalNormalizer) FusedRecurrentLinearAttn(Tensor q, Tensor k, Tensor v, float? scale = null,
        Tensor? initialState = null, Tensor? initialNormalizer = null, bool outputFinalState = false, bool reverse = false, bool normalize = false,
        CuSeqlens? cuSeqlens = null, Tensor? finalState = null)
    {
        using var scope = new TensorScope();
        var (o, state) = Recurrent(q, k, v, default, scale, initialState, outputFinalState, reverse, false, cuSeqlens, finalState);
        return Normalized(scope, o, state, q, k, v, scale, initialNormalizer, normalize, reverse, cuSeqlens);
    }

    private static (Tensor, Tensor?, Tensor?) Normalized(TensorScope scope, Tensor o, Tensor? state, Tensor q, Tensor k, Tensor v, float? scale,
        Tensor? initialNormalizer, bool normalize, bool reverse, CuSeqlens? cuSeqlens)
    {
        Tensor? z = null;
        if (normalize)
        {
            var shape = LinearShape.Of(q, k, v, cuSeqlens);
            Require.SameDevice(q, initialNormalizer);
            Require.Float(initialNormalizer, "initialNormalizer");
            Require.Shape(initialNormalizer, "initialNormalizer", shape.N, 1, shape.H, shape.K);
            (o, z) = Normalization.Run(shape, o, q, k, ScaleOf(scale, shape), initialNormalizer, reverse);
        }
        else Require.That(initialNormalizer is null, "initialNormalizer needs normalize");
        return (scope.Keep(o), state is null ? null : scope.Keep(state), z is null ? null : scope.Keep(z));
    }
}
