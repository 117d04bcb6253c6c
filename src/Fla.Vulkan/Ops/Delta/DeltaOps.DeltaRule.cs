namespace Fla.Vulkan.Ops;

public static partial class DeltaOps
{
    /// <summary>The delta rule (Schlag et al. 2021; Yang et al. 2024), in chunks: S ← S + k β(v − Sᵀk)ᵀ, o = scale · Sᵀ q.</summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K]; of unit length, or the memory grows.</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="beta">Step sizes [B,T,H], any float type.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,H,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="useQkL2NormInKernel">Divides q and k by their length.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="chunkSize">Tokens of a chunk: 16, 32 or 64; changes speed, not results.</param>
    /// <returns>o [B,T,H,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together, or another chunk size.</exception>
    /// <exception cref="DTypeException">q, k, v of different types, or not floats.</exception>
    public static (Tensor O, Tensor? FinalState) ChunkDeltaRule(Tensor q, Tensor k, Tensor v, Tensor beta, float? scale = null, Tensor? initialState = null,
        bool outputFinalState = false, bool useQkL2NormInKernel = false, CuSeqlens? cuSeqlens = null, int chunkSize = ChunkTiles.Size)
    {
        CheckHeadSteps(beta);
        return Delta(q, k, v, beta, scale, initialState, outputFinalState, useQkL2NormInKernel, cuSeqlens).Chunk(chunkSize);
    }

    /// <summary>As <see cref="ChunkDeltaRule"/>, one token after another.</summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K]; of unit length, or the memory grows.</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="beta">Step sizes [B,T,H], or [B,T,H,V] for one a value channel, any float type; 1 when null.</param>
    /// <param name="scale">Factor of q, positive; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,H,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="useQkL2NormInKernel">Divides q and k by their length.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="finalState">Where the final state is written, if no gradients are recorded; may be <paramref name="initialState"/> itself.</param>
    /// <returns>o [B,T,H,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">q, k, v of different types, or not floats.</exception>
    /// <exception cref="ArgumentOutOfRangeException">scale is not positive.</exception>
    public static (Tensor O, Tensor? FinalState) FusedRecurrentDeltaRule(Tensor q, Tensor k, Tensor v, Tensor? beta = null, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = false, bool useQkL2NormInKernel = false, CuSeqlens? cuSeqlens = null, Tensor? finalState = null)
    {
        CheckPositive(scale);
        return Delta(q, k, v, beta, scale, initialState, outputFinalState, useQkL2NormInKernel, cuSeqlens).Recurrent(finalState);
    }

    private static DeltaRule Delta(Tensor q, Tensor k, Tensor v, Tensor? beta, float? scale, Tensor? initialState, bool outputFinalState, bool useQkL2NormInKernel,
        CuSeqlens? cuSeqlens)
    {
        RequireOwnHeads(q, v);
        return new()
        {
            Q = q, K = k, V = v, Beta = beta, Activations = new(useQkL2NormInKernel), Scale = scale, InitialState = initialState,
            OutputFinalState = outputFinalState, CuSeqlens = cuSeqlens,
        };
    }
}
