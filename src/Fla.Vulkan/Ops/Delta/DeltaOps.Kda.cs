namespace Fla.Vulkan.Ops;

public static partial class DeltaOps
{
    /// <summary>
    /// Kimi delta attention (Kimi Team 2025), the delta rule with one decay a key channel, in chunks: Ŝ = diag(e^g) S, S ← Ŝ + k β(v − Ŝᵀk)ᵀ, o = scale · Sᵀ q.
    /// </summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,HV,V], HV a multiple of H.</param>
    /// <param name="g">Log decay [B,T,HV,K], any float type; raw with <paramref name="useGateInKernel"/>.</param>
    /// <param name="beta">Step sizes [B,T,HV], any float type; raw with <paramref name="useBetaSigmoidInKernel"/>.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,HV,K,V], fp32; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="useQkL2NormInKernel">Divides q and k by their length.</param>
    /// <param name="useGateInKernel">Takes the decay to be −e^aLog · softplus(g + dtBias), or with <paramref name="lowerBound"/> lowerBound · σ(e^aLog (g + dtBias)).</param>
    /// <param name="aLog">[HV], any float type; may be null (0) with <paramref name="lowerBound"/>.</param>
    /// <param name="dtBias">[HV·K] or [HV,K], any float type; 0 when null.</param>
    /// <param name="lowerBound">Least log decay of the gate in the kernel, below 0; without <paramref name="useGateInKernel"/> it changes nothing.</param>
    /// <param name="useBetaSigmoidInKernel">Takes σ(β).</param>
    /// <param name="allowNegEigval">Takes 2σ(β).</param>
    /// <param name="stateVFirst">States are [N,HV,V,K] instead.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="chunkSize">Tokens of a chunk: 16, 32 or 64; changes speed, not results.</param>
    /// <returns>o [B,T,HV,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together, or another chunk size.</exception>
    /// <exception cref="DTypeException">q, k, v of different types or not floats, or an initial state that is not fp32.</exception>
    /// <exception cref="ArgumentException">useGateInKernel without aLog and lowerBound, aLog or dtBias without it, allowNegEigval without useBetaSigmoidInKernel,
    /// or a lowerBound that is not negative.</exception>
    /// <remarks>Exponents are never positive where they are evaluated, however strong the decay: fla's safe_gate is not needed.</remarks>
    public static (Tensor O, Tensor? FinalState) ChunkKda(Tensor q, Tensor k, Tensor v, Tensor g, Tensor beta, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = false, bool useQkL2NormInKernel = false, bool useGateInKernel = false, Tensor? aLog = null,
        Tensor? dtBias = null, float? lowerBound = null, bool useBetaSigmoidInKernel = false, bool allowNegEigval = false, bool stateVFirst = false,
        CuSeqlens? cuSeqlens = null, int chunkSize = ChunkTiles.Size)
    {
        CheckHeadSteps(beta);
        return Kda(q, k, v, g, beta, scale, initialState, outputFinalState,
            new(useQkL2NormInKernel, useGateInKernel, aLog, dtBias, lowerBound, useBetaSigmoidInKernel, allowNegEigval), stateVFirst, cuSeqlens).Chunk(chunkSize);
    }

    /// <summary>As <see cref="ChunkKda"/>, with the state that enters each chunk (fla's return_intermediate_states), from which a sequence can be gone on with.</summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,HV,V], HV a multiple of H.</param>
    /// <param name="g">Log decay [B,T,HV,K], any float type; raw with <paramref name="useGateInKernel"/>.</param>
    /// <param name="beta">Step sizes [B,T,HV], any float type; raw with <paramref name="useBetaSigmoidInKernel"/>.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,HV,K,V], fp32; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="useQkL2NormInKernel">Divides q and k by their length.</param>
    /// <param name="useGateInKernel">Takes the decay to be −e^aLog · softplus(g + dtBias), or with <paramref name="lowerBound"/> lowerBound · σ(e^aLog (g + dtBias)).</param>
    /// <param name="aLog">[HV], any float type; may be null (0) with <paramref name="lowerBound"/>.</param>
    /// <param name="dtBias">[HV·K] or [HV,K], any float type; 0 when null.</param>
    /// <param name="lowerBound">Least log decay of the gate in the kernel, below 0; without <paramref name="useGateInKernel"/> it changes nothing.</param>
    /// <param name="useBetaSigmoidInKernel">Takes σ(β).</param>
    /// <param name="allowNegEigval">Takes 2σ(β).</param>
    /// <param name="stateVFirst">States are [N,HV,V,K] instead.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="chunkSize">Tokens of a chunk: 16, 32 or 64; changes speed, not results.</param>
    /// <returns>o [B,T,HV,V] in q's type, the final state (fp32) if asked for, and the states between chunks [B,NT,HV,K,V] in q's type, with NT = ⌈T/chunkSize⌉; of packed
    /// sequences [1,NT,HV,K,V], with the chunks of all of them one after another.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together, or another chunk size.</exception>
    /// <exception cref="DTypeException">q, k, v of different types or not floats, or an initial state that is not fp32.</exception>
    /// <exception cref="ArgumentException">useGateInKernel without aLog and lowerBound, aLog or dtBias without it, allowNegEigval without useBetaSigmoidInKernel,
    /// or a lowerBound that is not negative.</exception>
    /// <exception cref="AutogradException">An input requires a gradient: these states are for inference.</exception>
    public static (Tensor O, Tensor? FinalState, Tensor IntermediateStates) ChunkKdaWithStates(Tensor q, Tensor k, Tensor v, Tensor g, Tensor beta, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = false, bool useQkL2NormInKernel = false, bool useGateInKernel = false, Tensor? aLog = null,
        Tensor? dtBias = null, float? lowerBound = null, bool useBetaSigmoidInKernel = false, bool allowNegEigval = false, bool stateVFirst = false,
        CuSeqlens? cuSeqlens = null, int chunkSize = ChunkTiles.Size)
    {
        CheckHeadSteps(beta);
        return Kda(q, k, v, g, beta, scale, initialState, outputFinalState,
            new(useQkL2NormInKernel, useGateInKernel, aLog, dtBias, lowerBound, useBetaSigmoidInKernel, allowNegEigval), stateVFirst, cuSeqlens).ChunkWithStates(chunkSize);
    }

    /// <summary>As <see cref="ChunkKda"/>, one token after another.</summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,HV,V], HV a multiple of H.</param>
    /// <param name="g">Log decay [B,T,HV,K], any float type; raw with <paramref name="useGateInKernel"/>.</param>
    /// <param name="beta">Step sizes [B,T,HV], or [B,T,HV,V] for one a value channel, any float type; 1 when null.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,HV,K,V], fp32; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="useQkL2NormInKernel">Divides q and k by their length.</param>
    /// <param name="useGateInKernel">Takes the decay to be −e^aLog · softplus(g + dtBias), or with <paramref name="lowerBound"/> lowerBound · σ(e^aLog (g + dtBias)).</param>
    /// <param name="aLog">[HV], any float type; may be null (0) with <paramref name="lowerBound"/>.</param>
    /// <param name="dtBias">[HV·K] or [HV,K], any float type; 0 when null.</param>
    /// <param name="lowerBound">Least log decay of the gate in the kernel, below 0; without <paramref name="useGateInKernel"/> it changes nothing.</param>
    /// <param name="useBetaSigmoidInKernel">Takes σ(β).</param>
    /// <param name="allowNegEigval">Takes 2σ(β).</param>
    /// <param name="stateVFirst">States are [N,HV,V,K] instead.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="finalState">Where the final state is written, if no gradients are recorded; may be <paramref name="initialState"/> itself.</param>
    /// <returns>o [B,T,HV,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">q, k, v of different types or not floats, or an initial state that is not fp32.</exception>
    /// <exception cref="ArgumentException">useGateInKernel without aLog and lowerBound, aLog or dtBias without it, allowNegEigval without useBetaSigmoidInKernel,
    /// or a lowerBound that is not negative.</exception>
    public static (Tensor O, Tensor? FinalState) FusedRecurrentKda(Tensor q, Tensor k, Tensor v, Tensor g, Tensor? beta = null, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = false, bool useQkL2NormInKernel = false, bool useGateInKernel = false, Tensor? aLog = null,
        Tensor? dtBias = null, float? lowerBound = null, bool useBetaSigmoidInKernel = false, bool allowNegEigval = false, bool stateVFirst = false,
        CuSeqlens? cuSeqlens = null, Tensor? finalState = null) =>
        Kda(q, k, v, g, beta, scale, initialState, outputFinalState,
            new(useQkL2NormInKernel, useGateInKernel, aLog, dtBias, lowerBound, useBetaSigmoidInKernel, allowNegEigval), stateVFirst, cuSeqlens).Recurrent(finalState);

    /// <summary>
    /// <see cref="FusedRecurrentKda"/> for serving many sequences: states live in a pool, of which every sequence owns slots. Reads the state of a sequence from its
    /// slot and writes the state after each token to that token's slot, so that with <c>numAcceptedTokens</c> of <paramref name="ssmStateIndices"/> a later call
    /// goes on from the last token that was accepted (speculative decoding). Slots of no sequence stay as they are.
    /// </summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,HV,V], HV a multiple of H.</param>
    /// <param name="g">Log decay [B,T,HV,K], any float type; raw with <paramref name="useGateInKernel"/>.</param>
    /// <param name="beta">Step sizes [B,T,HV], or [B,T,HV,V] for one a value channel, any float type; 1 when null.</param>
    /// <param name="initialState">The pool [slots,HV,K,V], fp32.</param>
    /// <param name="ssmStateIndices">Slots of the sequences.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="outputFinalState">Without <paramref name="inplaceFinalState"/>: whether to return the state after each token.</param>
    /// <param name="inplaceFinalState">Writes states to the pool.</param>
    /// <param name="useQkL2NormInKernel">Divides q and k by their length.</param>
    /// <param name="useGateInKernel">Takes the decay to be −e^aLog · softplus(g + dtBias), or with <paramref name="lowerBound"/> lowerBound · σ(e^aLog (g + dtBias)).</param>
    /// <param name="aLog">[HV], any float type; may be null (0) with <paramref name="lowerBound"/>.</param>
    /// <param name="dtBias">[HV·K] or [HV,K], any float type; 0 when null.</param>
    /// <param name="lowerBound">Least log decay of the gate in the kernel, below 0; without <paramref name="useGateInKernel"/> it changes nothing.</param>
    /// <param name="useBetaSigmoidInKernel">Takes σ(β).</param>
    /// <param name="allowNegEigval">Takes 2σ(β).</param>
    /// <param name="stateVFirst">States are [slots,HV,V,K] instead.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1. An empty sequence leaves its slots as they are.</param>
    /// <returns>o [B,T,HV,V] in q's type, and, if asked for, the states after all tokens [B·T,HV,K,V] (fp32).</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together, or a sequence with more tokens than slots.</exception>
    /// <exception cref="DTypeException">q, k, v of different types or not floats, or a pool that is not fp32.</exception>
    /// <exception cref="ArgumentException">useGateInKernel without aLog and lowerBound, aLog or dtBias without it, allowNegEigval without useBetaSigmoidInKernel,
    /// or a lowerBound that is not negative.</exception>
    /// <exception cref="AutogradException">An input requires a gradient.</exception>
    /// <remarks>With one slot a sequence, fla takes the tokens after the first to own the next sequences' slots; here they own that one.</remarks>
    public static (Tensor O, Tensor? FinalState) FusedRecurrentKdaFwd(Tensor q, Tensor k, Tensor v, Tensor g, Tensor? beta, Tensor initialState,
        StateSlots ssmStateIndices, float? scale = null, bool outputFinalState = false, bool inplaceFinalState = true, bool useQkL2NormInKernel = false,
        bool useGateInKernel = false, Tensor? aLog = null, Tensor? dtBias = null, float? lowerBound = null, bool useBetaSigmoidInKernel = false,
        bool allowNegEigval = false, bool stateVFirst = false, CuSeqlens? cuSeqlens = null)
    {
        ArgumentNullException.ThrowIfNull(initialState);
        ArgumentNullException.ThrowIfNull(ssmStateIndices);
        return Kda(q, k, v, g, beta, scale, initialState, outputFinalState,
            new(useQkL2NormInKernel, useGateInKernel, aLog, dtBias, lowerBound, useBetaSigmoidInKernel, allowNegEigval), stateVFirst, cuSeqlens)
            .Paged(ssmStateIndices, inplaceFinalState);
    }

    private static DeltaRule Kda(Tensor q, Tensor k, Tensor v, Tensor g, Tensor? beta, float? scale, Tensor? initialState, bool outputFinalState,
        DeltaActivations activations, bool stateVFirst, CuSeqlens? cuSeqlens)
    {
        ArgumentNullException.ThrowIfNull(g);
        Require.Type(initialState, DType.Float32, nameof(initialState));
        return new()
        {
            Q = q, K = k, V = v, Gk = g, Beta = beta, Activations = activations, Scale = scale, InitialState = initialState, OutputFinalState = outputFinalState,
            StateVFirst = stateVFirst, CuSeqlens = cuSeqlens,
        };
    }
}
