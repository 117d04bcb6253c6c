namespace Fla.Vulkan.Ops;

/// <summary>What a call of the delta family does to its inputs before the recurrence (fla's *_in_kernel arguments).</summary>
/// <param name="UseQkL2Norm">q, k and p are divided by their length.</param>
/// <param name="UseGate">The decay is raw.</param>
/// <param name="ALog">Logarithm of the gate's rate [HV].</param>
/// <param name="DtBias">Bias of the gate [HV], or [HV·K] of a channel gate.</param>
/// <param name="LowerBound">Least decay of the bounded gate.</param>
/// <param name="UseBetaSigmoid">β is raw.</param>
/// <param name="AllowNegEigval">β reaches 2.</param>
internal readonly record struct DeltaActivations(bool UseQkL2Norm, bool UseGate = false, Tensor? ALog = null, Tensor? DtBias = null, float? LowerBound = null,
    bool UseBetaSigmoid = false, bool AllowNegEigval = false)
{
    /// <summary>Checks what goes together.</summary>
    /// <exception cref="ArgumentException">An argument that another one excludes or needs.</exception>
    /// <param name="heads">HV.</param>
    /// <param name="gate">The raw gate.</param>
    /// <param name="channels">K of a channel gate, null for a head gate.</param>
    public void Check(int heads, Tensor? gate, int? channels)
    {
        if (AllowNegEigval && !UseBetaSigmoid) throw new ArgumentException("allowNegEigval needs useBetaSigmoidInKernel");
        if (LowerBound is { } bound && !(bound < 0)) throw new ArgumentException($"lowerBound is a log decay below 0, not {bound}");
        if (!UseGate)
        {
            if (ALog is not null || DtBias is not null) throw new ArgumentException("aLog and dtBias need useGateInKernel");
            return;
        }
        if (gate is null) throw new ArgumentException("useGateInKernel needs g");
        if (ALog is null && LowerBound is null) throw new ArgumentException("useGateInKernel needs aLog, or lowerBound");
        Require.Float(ALog, "aLog");
        Require.Float(DtBias, "dtBias");
        Require.Shape(ALog, "aLog", heads);
        if (DtBias is { } bias && !(channels is { } k && bias.HasShape([heads, k]))) Require.Shape(bias, "dtBias", heads * (channels ?? 1));
    }

    /// <summary>The log decay, as a recorded operation.</summary>
    public Tensor? Gate(Tensor? g) => UseGate ? RawGate.Run(g!, ALog, DtBias, LowerBound) : g;

    /// <summary>β in fp32, as recorded operations.</summary>
    public Tensor? StepSize(Tensor? beta)
    {
        beta = beta?.To(DType.Float32);
        if (beta is null || !UseBetaSigmoid) return beta;
        var sigmoid = Activations.Sigmoid(beta);
        return AllowNegEigval ? Elementwise.Scale(sigmoid, 2) : sigmoid;
    }

    /// <summary>q, k or p, as a recorded operation.</summary>
    public Tensor Normalized(Tensor x) => UseQkL2Norm ? Norms.L2Norm(x) : x;
}
