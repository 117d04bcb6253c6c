namespace Fla.Vulkan.Ops;

public static partial class DeltaOps
{
    /// <summary>
    /// Comba (Hu et al. 2025), in chunks: the correction reads with an erase key of its own and from the state before its decay,
    /// S ← e^g S + k β(v − Sᵀp)ᵀ, o = scale · Sᵀ q. The order of arguments is that of fla's chunked form, in which v comes before p.
    /// </summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,HV,V], HV a multiple of H.</param>
    /// <param name="p">Erase keys [B,T,H,K]; k when null.</param>
    /// <param name="g">Log decay [B,T,HV], any float type.</param>
    /// <param name="beta">Step sizes [B,T,HV], any float type.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,HV,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="useQkL2NormInKernel">Divides q, k and p by their length.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <returns>o [B,T,HV,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <remarks>fla's step-by-step reference decays before it reads and does not match its kernels; these are the kernels.</remarks>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">q, k, p, v of different types, or not floats.</exception>
    public static (Tensor O, Tensor? FinalState) ChunkComba(Tensor q, Tensor k, Tensor v, Tensor? p, Tensor g, Tensor beta, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = false, bool useQkL2NormInKernel = false, CuSeqlens? cuSeqlens = null) =>
        Comba(q, k, v, p, g, beta, scale, initialState, outputFinalState, useQkL2NormInKernel, cuSeqlens).Chunk(ChunkTiles.Size);

    /// <summary>As <see cref="ChunkComba"/>, one token after another. The order of arguments is that of fla's recurrent form, in which p comes before v.</summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="p">Erase keys [B,T,H,K]; k when null.</param>
    /// <param name="v">Values [B,T,HV,V], HV a multiple of H.</param>
    /// <param name="g">Log decay [B,T,HV], any float type.</param>
    /// <param name="beta">Step sizes [B,T,HV], any float type.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,HV,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="useQkL2NormInKernel">Divides q, k and p by their length.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="finalState">Where the final state is written, if no gradients are recorded; may be <paramref name="initialState"/> itself.</param>
    /// <returns>o [B,T,HV,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">q, k, p, v of different types, or not floats.</exception>
    public static (Tensor O, Tensor? FinalState) FusedRecurrentComba(Tensor q, Tensor k, Tensor? p, Tensor v, Tensor g, Tensor beta, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = false, bool useQkL2NormInKernel = false, CuSeqlens? cuSeqlens = null, Tensor? finalState = null) =>
        Comba(q, k, v, p, g, beta, scale, initialState, outputFinalState, useQkL2NormInKernel, cuSeqlens).Recurrent(finalState);

    private static DeltaRule Comba(Tensor q, Tensor k, Tensor v, Tensor? p, Tensor g, Tensor beta, float? scale, Tensor? initialState, bool outputFinalState,
        bool useQkL2NormInKernel, CuSeqlens? cuSeqlens)
    {
        ArgumentNullException.ThrowIfNull(g);
        CheckHeadSteps(beta);
        return new()
        {
            Q = q, K = k, V = v, P = p, G = g, Beta = beta, ReadsUndecayed = true, Activations = new(useQkL2NormInKernel), Scale = scale,
            InitialState = initialState, OutputFinalState = outputFinalState, CuSeqlens = cuSeqlens,
        };
    }
}
