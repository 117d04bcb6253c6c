using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>Settings of <see cref="KimiDeltaAttention"/>; defaults are fla's.</summary>
public sealed record KimiDeltaAttentionOptions : DeltaOptions
{
    /// <summary>fla's defaults.</summary>
    public KimiDeltaAttentionOptions() => (NumHeads, HeadDim, ExpandV) = (16, 128, 1);

    /// <summary>Whether the steps reach 2, which lets the memory turn signs (Grazzi et al. 2024).</summary>
    public bool AllowNegEigval { get; init; }

    /// <summary>Whether the decays are known to be bounded; needs <see cref="LowerBound"/>.</summary>
    public bool SafeGate { get; init; }

    /// <summary>Least log decay, below 0 (with <see cref="SafeGate"/> not below −5), of gates that are then sigmoids; null for unbounded ones.</summary>
    public double? LowerBound { get; init; }

    /// <inheritdoc/>
    internal override void Check()
    {
        base.Check();
        if (SafeGate && LowerBound == null) throw new ArgumentException("safe_gate needs a lower_bound");
        if (LowerBound is { } bound && !(bound < 0)) throw new ArgumentException($"lower_bound {bound} is not below 0");
    }
}

/// <summary>
/// Kimi Delta Attention (Kimi Team, "Kimi Linear: An Expressive, Efficient Attention Architecture", 2025): S ← diag(e^g) S, S ← S + k (β(v − Sᵀk))ᵀ,
/// o = K^(-1/2) Sᵀ q, with q and k of unit length and a decay for each key channel of a value head.
/// </summary>
public sealed class KimiDeltaAttention : ChannelGatedDeltaMixer
{
    private readonly KimiDeltaAttentionOptions _options;
    private readonly Linear _beta;

    /// <summary>A layer.</summary>
    /// <param name="device">Where.</param>
    /// <param name="options">Settings.</param>
    /// <param name="dtype">Float type of parameters and activations.</param>
    /// <exception cref="ShapeException">Heads do not divide widths.</exception>
    /// <exception cref="ArgumentException">A safe gate without a lower bound, or a bound that is not negative.</exception>
    public KimiDeltaAttention(ComputeDevice device, KimiDeltaAttentionOptions options, DType dtype = DType.Float32)
        : base(device, options, dtype)
    {
        _options = options;
        AddDecayAndQkv(options.ValueHeads, options.SafeGate);
        _beta = AddModule("b_proj", () => new Linear(device, HiddenSize, options.ValueHeads, dtype: dtype));
        AddGatedOutput();
    }

    /// <inheritdoc/>
    protected override Tensor Mix(MixerInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        var (q, k, v) = ProjectActivated(input);
        (q, k, v) = (Heads(q, _options.HeadDim), Heads(k, _options.HeadDim), Heads(v, _options.HeadV));
        var g = Heads(RawDecay(input), _options.HeadDim);
        var beta = input.Project(_beta);

        var before = input.State(LayerCache.RecurrentState);
        var isKept = input.Cache != null;
        var bound = (float?)_options.LowerBound;
        var (o, after) = input.Mode == AttnMode.FusedRecurrent
            ? DeltaOps.FusedRecurrentKda(q, k, v, g, beta, initialState: before, outputFinalState: isKept, useQkL2NormInKernel: true, useGateInKernel: true,
                aLog: Rate.ALog, dtBias: Rate.DtBias, lowerBound: bound, useBetaSigmoidInKernel: true, allowNegEigval: _options.AllowNegEigval,
                cuSeqlens: input.CuSeqlens, finalState: input.StateInPlace(LayerCache.RecurrentState))
            : DeltaOps.ChunkKda(q, k, v, g, beta, initialState: before, outputFinalState: isKept, useQkL2NormInKernel: true, useGateInKernel: true,
                aLog: Rate.ALog, dtBias: Rate.DtBias, lowerBound: bound, useBetaSigmoidInKernel: true, allowNegEigval: _options.AllowNegEigval,
                cuSeqlens: input.CuSeqlens);
        input.Store(LayerCache.RecurrentState, after);
        return Output(input, o);
    }
}
