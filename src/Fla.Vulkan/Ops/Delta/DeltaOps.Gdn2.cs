namespace Fla.Vulkan.Ops;

public static partial class DeltaOps
{
    /// <summary>
    /// The gated delta rule with gates for each channel of what is erased and of what is written, in chunks: Ŝ = diag(e^g) S,
    /// S ← Ŝ + k (w ⊙ v − Ŝᵀ(b ⊙ k))ᵀ, o = scale · Sᵀ q. With b = w = β it is <see cref="ChunkKda"/>.
    /// </summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="g">Log decay [B,T,H,K], any float type; raw with <paramref name="useGateInKernel"/>.</param>
    /// <param name="b">Erase gate [B,T,H,K], of q's type.</param>
    /// <param name="w">Write gate [B,T,H,V], any float type.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,H,K,V], fp32; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="useQkL2NormInKernel">Divides q and k by their length.</param>
    /// <param name="useGateInKernel">Takes the decay to be −e^aLog · softplus(g + dtBias), or with <paramref name="lowerBound"/> lowerBound · σ(e^aLog (g + dtBias)).</param>
    /// <param name="aLog">[H], any float type; may be null (0) with <paramref name="lowerBound"/>.</param>
    /// <param name="dtBias">[H·K] or [H,K], any float type; 0 when null.</param>
    /// <param name="lowerBound">Least log decay of the gate in the kernel, below 0; without <paramref name="useGateInKernel"/> it changes nothing.</param>
    /// <param name="stateVFirst">States are [N,H,V,K] instead.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <returns>o [B,T,H,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">q, k, v, b of different types or not floats, or an initial state that is not fp32.</exception>
    /// <exception cref="ArgumentException">useGateInKernel without aLog and lowerBound, aLog or dtBias without it, or a lowerBound that is not negative.</exception>
    public static (Tensor O, Tensor? FinalState) ChunkGdn2(Tensor q, Tensor k, Tensor v, Tensor g, Tensor b, Tensor w, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = false, bool useQkL2NormInKernel = false, bool useGateInKernel = false, Tensor? aLog = null,
        Tensor? dtBias = null, float? lowerBound = null, bool stateVFirst = false, CuSeqlens? cuSeqlens = null) =>
        Gdn2(q, k, v, g, b, w, scale, initialState, outputFinalState, new(useQkL2NormInKernel, useGateInKernel, aLog, dtBias, lowerBound), stateVFirst, cuSeqlens)
            .Chunk(ChunkTiles.Size);

    /// <summary>As <see cref="ChunkGdn2"/>, one token after another.</summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="g">Log decay [B,T,H,K], any float type; raw with <paramref name="useGateInKernel"/>.</param>
    /// <param name="b">Erase gate [B,T,H,K], of q's type.</param>
    /// <param name="w">Write gate [B,T,H,V], any float type.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,H,K,V], fp32; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="useQkL2NormInKernel">Divides q and k by their length.</param>
    /// <param name="useGateInKernel">Takes the decay to be −e^aLog · softplus(g + dtBias), or with <paramref name="lowerBound"/> lowerBound · σ(e^aLog (g + dtBias)).</param>
    /// <param name="aLog">[H], any float type; may be null (0) with <paramref name="lowerBound"/>.</param>
    /// <param name="dtBias">[H·K] or [H,K], any float type; 0 when null.</param>
    /// <param name="lowerBound">Least log decay of the gate in the kernel, below 0; without <paramref name="useGateInKernel"/> it changes nothing.</param>
    /// <param name="stateVFirst">States are [N,H,V,K] instead.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="finalState">Where the final state is written, if no gradients are recorded; may be <paramref name="initialState"/> itself.</param>
    /// <returns>o [B,T,H,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">q, k, v, b of different types or not floats, or an initial state that is not fp32.</exception>
    /// <exception cref="ArgumentException">useGateInKernel without aLog and lowerBound, aLog or dtBias without it, or a lowerBound that is not negative.</exception>
    public static (Tensor O, Tensor? FinalState) FusedRecurrentGdn2(Tensor q, Tensor k, Tensor v, Tensor g, Tensor b, Tensor w, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = false, bool useQkL2NormInKernel = false, bool useGateInKernel = false, Tensor? aLog = null,
        Tensor? dtBias = null, float? lowerBound = null, bool stateVFirst = false, CuSeqlens? cuSeqlens = null, Tensor? finalState = null) =>
        Gdn2(q, k, v, g, b, w, scale, initialState, outputFinalState, new(useQkL2NormInKernel, useGateInKernel, aLog, dtBias, lowerBound), stateVFirst, cuSeqlens)
            .Recurrent(finalState);

    private static DeltaRule Gdn2(Tensor q, Tensor k, Tensor v, Tensor g, Tensor b, Tensor w, float? scale, Tensor? initialState, bool outputFinalState,
        DeltaActivations activations, bool stateVFirst, CuSeqlens? cuSeqlens)
    {
        RequireOwnHeads(q, v);
        ArgumentNullException.ThrowIfNull(g);
        ArgumentNullException.ThrowIfNull(b);
        ArgumentNullException.ThrowIfNull(w);
        Require.Type(initialState, DType.Float32, nameof(initialState));
        return new()
        {
            Q = q, K = k, V = v, Gk = g, EraseGate = b, WriteGate = w, Activations = activations, Scale = scale, InitialState = initialState,
            OutputFinalState = outputFinalState, StateVFirst = stateVFirst, CuSeqlens = cuSeqlens,
        };
    }
}
