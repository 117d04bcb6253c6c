namespace Fla.Vulkan.Ops;

public static partial class DeltaOps
{
    /// <summary>
    /// The generalized delta rule, a decay plus a correction of rank one, in chunks: S ← diag(e^gk) S + b (Sᵀa)ᵀ + k vᵀ, o = scale · Sᵀ q. The correction reads
    /// the state before its decay.
    /// </summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="a">What the correction reads [B,T,H,K].</param>
    /// <param name="b">Where it is written [B,T,H,K].</param>
    /// <param name="gk">Log decay [B,T,H,K], any float type; none when null.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,H,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="chunkSize">Tokens of a chunk: 16, 32 or 64; changes speed, not results.</param>
    /// <returns>o [B,T,H,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together, or another chunk size.</exception>
    /// <exception cref="DTypeException">q, k, v, a, b of different types, or not floats.</exception>
    /// <remarks>Exponents are never positive where they are evaluated, however strong the decay: fla's safe_gate and lower_bound are not needed.</remarks>
    public static (Tensor O, Tensor? FinalState) ChunkDplrDeltaRule(Tensor q, Tensor k, Tensor v, Tensor a, Tensor b, Tensor? gk, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = false, CuSeqlens? cuSeqlens = null, int chunkSize = ChunkTiles.Size) =>
        Dplr(q, k, v, a, b, gk, scale, initialState, outputFinalState, cuSeqlens).Chunk(chunkSize);

    /// <summary>As <see cref="ChunkDplrDeltaRule"/> without decay: S ← S + b (Sᵀa)ᵀ + k vᵀ, o = scale · Sᵀ q.</summary>
    /// <inheritdoc cref="ChunkDplrDeltaRule"/>
    public static (Tensor O, Tensor? FinalState) ChunkIplrDeltaRule(Tensor q, Tensor k, Tensor v, Tensor a, Tensor b, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = false, CuSeqlens? cuSeqlens = null, int chunkSize = ChunkTiles.Size) =>
        Dplr(q, k, v, a, b, null, scale, initialState, outputFinalState, cuSeqlens).Chunk(chunkSize);

    /// <summary>As <see cref="ChunkDplrDeltaRule"/>, one token after another.</summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="a">What the correction reads [B,T,H,K].</param>
    /// <param name="b">Where it is written [B,T,H,K].</param>
    /// <param name="gk">Log decay [B,T,H,K], any float type; none when null.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,H,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="reverse">Scans every sequence from its last token to its first; without gradients.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="finalState">Where the final state is written, if no gradients are recorded; may be <paramref name="initialState"/> itself.</param>
    /// <returns>o [B,T,H,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">q, k, v, a, b of different types, or not floats.</exception>
    /// <exception cref="AutogradException">reverse, and an input requires a gradient.</exception>
    public static (Tensor O, Tensor? FinalState) FusedRecurrentDplrDeltaRule(Tensor q, Tensor k, Tensor v, Tensor a, Tensor b, Tensor? gk, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = false, bool reverse = false, CuSeqlens? cuSeqlens = null, Tensor? finalState = null) =>
        (Dplr(q, k, v, a, b, gk, scale, initialState, outputFinalState, cuSeqlens) with { Reverse = reverse }).Recurrent(finalState);

    /// <summary>As <see cref="FusedRecurrentDplrDeltaRule"/> without decay: S ← S + b (Sᵀa)ᵀ + k vᵀ, o = scale · Sᵀ q.</summary>
    /// <exception cref="ArgumentOutOfRangeException">scale is not positive.</exception>
    /// <inheritdoc cref="FusedRecurrentDplrDeltaRule"/>
    public static (Tensor O, Tensor? FinalState) FusedRecurrentIplrDeltaRule(Tensor q, Tensor k, Tensor v, Tensor a, Tensor b, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = false, CuSeqlens? cuSeqlens = null, Tensor? finalState = null)
    {
        CheckPositive(scale);
        return FusedRecurrentDplrDeltaRule(q, k, v, a, b, null, scale, initialState, outputFinalState, false, cuSeqlens, finalState);
    }

    private static DeltaRule Dplr(Tensor q, Tensor k, Tensor v, Tensor a, Tensor b, Tensor? gk, float? scale, Tensor? initialState, bool outputFinalState,
        CuSeqlens? cuSeqlens)
    {
        RequireOwnHeads(q, v);
        ArgumentNullException.ThrowIfNull(a);
        ArgumentNullException.ThrowIfNull(b);
        return new()
        {
            Q = q, K = k, V = v, P = a, B = b, Names = ("a", "b"), Gk = gk, ReadsUndecayed = true, Scale = scale, InitialState = initialState,
            OutputFinalState = outputFinalState, CuSeqlens = cuSeqlens,
        };
    }
}
