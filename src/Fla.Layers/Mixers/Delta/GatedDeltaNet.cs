using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>Settings of <see cref="GatedDeltaNet"/>; defaults are fla's.</summary>
public sealed record GatedDeltaNetOptions : DeltaOptions
{
    /// <summary>Whether the normed output is multiplied by a gate.</summary>
    public bool UseGate { get; init; } = true;

    /// <summary>Whether the steps reach 2, which lets the memory turn signs (Grazzi et al. 2024).</summary>
    public bool AllowNegEigval { get; init; }
}

/// <summary>
/// Gated DeltaNet (Yang, Kautz and Hatamizadeh, "Gated Delta Networks: Improving Mamba2 with Delta Rule", 2024): S ← e^g S, S ← S + k (β(v − Sᵀk))ᵀ,
/// o = K^(-1/2) Sᵀ q, with q and k of unit length, g = −e^A_log · softplus(W_a x + dt_bias) and β = σ(W_b x) for each value head.
/// </summary>
public sealed class GatedDeltaNet : HeadGatedDeltaMixer
{
    private readonly GatedDeltaNetOptions _options;

    /// <summary>A layer.</summary>
    /// <param name="device">Where.</param>
    /// <param name="options">Settings.</param>
    /// <param name="dtype">Float type of parameters and activations.</param>
    /// <exception cref="ShapeException">Heads do not divide widths.</exception>
    public GatedDeltaNet(ComputeDevice device, GatedDeltaNetOptions options, DType dtype = DType.Float32)
        : base(device, options, dtype)
    {
        _options = options;
        AddRate();
        AddProjections(options.KeyDim, options.KeyDim, options.ValueDim);
        AddDecay();
        AddSteps();
        AddGatedOutput(options.UseGate ? NormGate.Swish : null);
    }

    /// <inheritdoc/>
    protected override Tensor Mix(MixerInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        var (q, k, v) = ProjectActivated(input);
        (q, k, v) = (Heads(q, _options.HeadDim), Heads(k, _options.HeadDim), Heads(v, _options.HeadV));
        var (g, beta) = (RawDecay(input), RawBeta(input));

        var before = input.State(LayerCache.RecurrentState);
        var isKept = input.Cache != null;
        var (o, after) = input.Mode == AttnMode.FusedRecurrent
            ? DeltaOps.FusedRecurrentGatedDeltaRule(q, k, v, g, beta: beta, initialState: before, outputFinalState: isKept, useQkL2NormInKernel: true,
                useGateInKernel: true, aLog: Rate.ALog, dtBias: Rate.DtBias, useBetaSigmoidInKernel: true, allowNegEigval: _options.AllowNegEigval,
                cuSeqlens: input.CuSeqlens, finalState: input.StateInPlace(LayerCache.RecurrentState))
            : DeltaOps.ChunkGatedDeltaRule(q, k, v, g, beta, initialState: before, outputFinalState: isKept, useQkL2NormInKernel: true,
                useGateInKernel: true, aLog: Rate.ALog, dtBias: Rate.DtBias, useBetaSigmoidInKernel: true, allowNegEigval: _options.AllowNegEigval,
                cuSeqlens: input.CuSeqlens);
        input.Store(LayerCache.RecurrentState, after);
        return Output(input, o);
    }
}
