namespace Fla.Vulkan.Ops;

public static partial class DeltaOps
{
    /// <summary>
    /// Several corrections a token (Siems et al. 2025), in chunks: S ← e^g S, then for each of the token's n keys S ← S + k β(v − Sᵀk)ᵀ, then o = scale · Sᵀ q.
    /// Token t has the rows t·n … t·n + n − 1 of k, v and β.
    /// </summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T·n,H,K].</param>
    /// <param name="v">Values [B,T·n,HV,V], HV a multiple of H.</param>
    /// <param name="g">Log decay [B,T,HV], any float type; none when null.</param>
    /// <param name="beta">Step sizes [B,T·n,HV], any float type.</param>
    /// <param name="numHouseholder">n.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,HV,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="useQkL2NormInKernel">Divides q and k by their length.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences, in tokens; B must then be 1.</param>
    /// <returns>o [B,T,HV,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">q, k, v of different types, or not floats.</exception>
    public static (Tensor O, Tensor? FinalState) ChunkGatedDeltaProduct(Tensor q, Tensor k, Tensor v, Tensor? g, Tensor beta, int numHouseholder,
        float? scale = null, Tensor? initialState = null, bool outputFinalState = false, bool useQkL2NormInKernel = false, CuSeqlens? cuSeqlens = null) =>
        Product(q, k, v, g, beta, numHouseholder, scale, initialState, outputFinalState, useQkL2NormInKernel, cuSeqlens).Chunk(ChunkTiles.Size);

    /// <summary>As <see cref="ChunkGatedDeltaProduct"/>, one token after another in one dispatch; fla has no such form.</summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T·n,H,K].</param>
    /// <param name="v">Values [B,T·n,HV,V], HV a multiple of H.</param>
    /// <param name="g">Log decay [B,T,HV], any float type; none when null.</param>
    /// <param name="beta">Step sizes [B,T·n,HV], any float type.</param>
    /// <param name="numHouseholder">n.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,HV,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="useQkL2NormInKernel">Divides q and k by their length.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences, in tokens; B must then be 1.</param>
    /// <param name="finalState">Where the final state is written, if no gradients are recorded; may be <paramref name="initialState"/> itself.</param>
    /// <returns>o [B,T,HV,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">q, k, v of different types, or not floats.</exception>
    public static (Tensor O, Tensor? FinalState) FusedRecurrentGatedDeltaProduct(Tensor q, Tensor k, Tensor v, Tensor? g, Tensor beta, int numHouseholder,
        float? scale = null, Tensor? initialState = null, bool outputFinalState = false, bool useQkL2NormInKernel = false, CuSeqlens? cuSeqlens = null,
        Tensor? finalState = null) =>
        Product(q, k, v, g, beta, numHouseholder, scale, initialState, outputFinalState, useQkL2NormInKernel, cuSeqlens).Recurrent(finalState);

    private static DeltaRule Product(Tensor q, Tensor k, Tensor v, Tensor? g, Tensor beta, int numHouseholder, float? scale, Tensor? initialState,
        bool outputFinalState, bool useQkL2NormInKernel, CuSeqlens? cuSeqlens)
    {
        CheckHeadSteps(beta);
        Require.That(numHouseholder > 0, $"numHouseholder is positive, not {numHouseholder}");
        ArgumentNullException.ThrowIfNull(q);
        ArgumentNullException.ThrowIfNull(k);
        ArgumentNullException.ThrowIfNull(v);
        return new()
        {
            Q = q, K = k, V = v, G = g, Beta = beta, Householders = numHouseholder, Activations = new(useQkL2NormInKernel), Scale = scale,
            InitialState = initialState, OutputFinalState = outputFinalState, CuSeqlens = cuSeqlens,
        };
    }
}
