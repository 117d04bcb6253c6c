namespace Fla.Vulkan.Ops;

public static partial class DeltaOps
{
    /// <summary>The gated delta rule, gdn (Yang, Kautz and Hatamizadeh 2024), in chunks: Ŝ = e^g S, S ← Ŝ + k β(v − Ŝᵀk)ᵀ, o = scale · Sᵀ q.</summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,HV,V], HV a multiple of H.</param>
    /// <param name="g">Log decay [B,T,HV], any float type; raw with <paramref name="useGateInKernel"/>.</param>
    /// <param name="beta">Step sizes [B,T,HV], any float type; raw with <paramref name="useBetaSigmoidInKernel"/>.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,HV,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="useQkL2NormInKernel">Divides q and k by their length.</param>
    /// <param name="useGateInKernel">Takes the decay to be −e^aLog · softplus(g + dtBias).</param>
    /// <param name="aLog">[HV], any float type.</param>
    /// <param name="dtBias">[HV], any float type; 0 when null.</param>
    /// <param name="useBetaSigmoidInKernel">Takes σ(β).</param>
    /// <param name="allowNegEigval">Takes 2σ(β).</param>
    /// <param name="stateVFirst">States are [N,HV,V,K] instead.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="chunkSize">Tokens of a chunk: 16, 32 or 64; changes speed, not results.</param>
    /// <returns>o [B,T,HV,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together, or another chunk size.</exception>
    /// <exception cref="DTypeException">q, k, v of different types, or not floats.</exception>
    /// <exception cref="ArgumentException">useGateInKernel without aLog, aLog or dtBias without it, or allowNegEigval without useBetaSigmoidInKernel.</exception>
    public static (Tensor O, Tensor? FinalState) ChunkGatedDeltaRule(Tensor q, Tensor k, Tensor v, Tensor g, Tensor beta, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = false, bool useQkL2NormInKernel = false, bool useGateInKernel = false, Tensor? aLog = null,
        Tensor? dtBias = null, bool useBetaSigmoidInKernel = false, bool allowNegEigval = false, bool stateVFirst = false, CuSeqlens? cuSeqlens = null,
        int chunkSize = ChunkTiles.Size)
    {
        ArgumentNullException.ThrowIfNull(g);
        CheckHeadSteps(beta);
        return new DeltaRule
        {
            Q = q, K = k, V = v, G = g, Beta = beta,
            Activations = new(useQkL2NormInKernel, useGateInKernel, aLog, dtBias, null, useBetaSigmoidInKernel, allowNegEigval),
            Scale = scale, InitialState = initialState, OutputFinalState = outputFinalState, StateVFirst = stateVFirst, CuSeqlens = cuSeqlens,
        }.Chunk(chunkSize);
    }

    /// <summary>As <see cref="ChunkGatedDeltaRule"/>, one token after another, with more gates: the decays of all that are given multiply.</summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,HV,V], HV a multiple of H.</param>
    /// <param name="g">Log decay [B,T,HV], any float type; raw with <paramref name="useGateInKernel"/>.</param>
    /// <param name="gk">Log decay of key channels [B,T,HV,K], any float type.</param>
    /// <param name="gv">Log decay of value channels [B,T,HV,V], any float type.</param>
    /// <param name="beta">Step sizes [B,T,HV], or [B,T,HV,V] for one a value channel, any float type; 1 when null.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,HV,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="useQkL2NormInKernel">Divides q and k by their length.</param>
    /// <param name="useGateInKernel">Takes the decay to be −e^aLog · softplus(g + dtBias).</param>
    /// <param name="aLog">[HV], any float type.</param>
    /// <param name="dtBias">[HV], any float type; 0 when null.</param>
    /// <param name="useBetaSigmoidInKernel">Takes σ(β).</param>
    /// <param name="allowNegEigval">Takes 2σ(β).</param>
    /// <param name="stateVFirst">States are [N,HV,V,K] instead.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="finalState">Where the final state is written, if no gradients are recorded; may be <paramref name="initialState"/> itself.</param>
    /// <returns>o [B,T,HV,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">q, k, v of different types, or not floats.</exception>
    /// <exception cref="ArgumentException">useGateInKernel without aLog or with gk, aLog or dtBias without it, or allowNegEigval without useBetaSigmoidInKernel.</exception>
    public static (Tensor O, Tensor? FinalState) FusedRecurrentGatedDeltaRule(Tensor q, Tensor k, Tensor v, Tensor? g = null, Tensor? gk = null,
        Tensor? gv = null, Tensor? beta = null, float? scale = null, Tensor? initialState = null, bool outputFinalState = false,
        bool useQkL2NormInKernel = false, bool useGateInKernel = false, Tensor? aLog = null, Tensor? dtBias = null, bool useBetaSigmoidInKernel = false,
        bool allowNegEigval = false, bool stateVFirst = false, CuSeqlens? cuSeqlens = null, Tensor? finalState = null)
    {
        if (useGateInKernel && gk is not null) throw new ArgumentException("useGateInKernel is for g: gk cannot be given too", nameof(gk));
        return new DeltaRule
        {
            Q = q, K = k, V = v, G = g, Gk = gk, Gv = gv, Beta = beta,
            Activations = new(useQkL2NormInKernel, useGateInKernel, aLog, dtBias, null, useBetaSigmoidInKernel, allowNegEigval),
            Scale = scale, InitialState = initialState, OutputFinalState = outputFinalState, StateVFirst = stateVFirst, CuSeqlens = cuSeqlens,
        }.Recurrent(finalState);
    }

    /// <summary><see cref="ChunkGatedDeltaRule"/> under fla's shorter name.</summary>
    /// <inheritdoc cref="ChunkGatedDeltaRule"/>
    public static (Tensor O, Tensor? FinalState) ChunkGdn(Tensor q, Tensor k, Tensor v, Tensor g, Tensor beta, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = false, bool useQkL2NormInKernel = false, bool useGateInKernel = false, Tensor? aLog = null,
        Tensor? dtBias = null, bool useBetaSigmoidInKernel = false, bool allowNegEigval = false, bool stateVFirst = false, CuSeqlens? cuSeqlens = null,
        int chunkSize = ChunkTiles.Size) =>
        ChunkGatedDeltaRule(q, k, v, g, beta, scale, initialState, outputFinalState, useQkL2NormInKernel, useGateInKernel, aLog, dtBias, useBetaSigmoidInKernel,
            allowNegEigval, stateVFirst, cuSeqlens, chunkSize);

    /// <summary><see cref="FusedRecurrentGatedDeltaRule"/> under fla's shorter name.</summary>
    /// <inheritdoc cref="FusedRecurrentGatedDeltaRule"/>
    public static (Tensor O, Tensor? FinalState) FusedRecurrentGdn(Tensor q, Tensor k, Tensor v, Tensor? g = null, Tensor? gk = null,
        Tensor? gv = null, Tensor? beta = null, float? scale = null, Tensor? initialState = null, bool outputFinalState = false,
        bool useQkL2NormInKernel = false, bool useGateInKernel = false, Tensor? aLog = null, Tensor? dtBias = null, bool useBetaSigmoidInKernel = false,
        bool allowNegEigval = false, bool stateVFirst = false, CuSeqlens? cuSeqlens = null, Tensor? finalState = null) =>
        FusedRecurrentGatedDeltaRule(q, k, v, g, gk, gv, beta, scale, initialState, outputFinalState, useQkL2NormInKernel, useGateInKernel, aLog, dtBias,
            useBetaSigmoidInKernel, allowNegEigval, stateVFirst, cuSeqlens, finalState);
}
