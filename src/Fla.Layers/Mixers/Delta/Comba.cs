using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>Settings of <see cref="Comba"/>; defaults are fla's.</summary>
public sealed record CombaOptions : DeltaOptions
{
    /// <summary>Whether the normed output is multiplied by a gate.</summary>
    public bool UseOutputGate { get; init; } = true;

    /// <summary>Whether queries are corrected by what the memory is corrected with.</summary>
    public bool UseOutputCorrection { get; init; } = true;

    /// <summary>Whether the keys that erase are fractions of those that write, one for each head; else they are the same.</summary>
    public bool UseInnerDecay { get; init; } = true;

    /// <summary>What the output correction starts from.</summary>
    public double CorrectionFactor { get; init; } = 1;
}

/// <summary>
/// Comba (Hu et al., "Comba: Improving Bilinear RNNs with Closed-loop Control", 2025): S ← e^g S + k (β(v − Sᵀp))ᵀ with S on the right the memory before its
/// decay, o = K^(-1/2) Sᵀ (q − D p), p = σ(decay) k; q, k and p are brought to unit length after that.
/// </summary>
public sealed class Comba : HeadGatedDeltaMixer
{
    private readonly CombaOptions _options;
    private readonly Tensor? _innerDecay;
    private readonly Tensor? _correction;

    /// <summary>A layer.</summary>
    /// <param name="device">Where.</param>
    /// <param name="options">Settings.</param>
    /// <param name="dtype">Float type of parameters and activations.</param>
    /// <exception cref="ShapeException">Heads do not divide widths.</exception>
    public Comba(ComputeDevice device, CombaOptions options, DType dtype = DType.Float32)
        : base(device, options, dtype)
    {
        _options = options;
        if (options.UseInnerDecay) _innerDecay = AddParameter("decay", WeightRules.One, options.NumHeads);
        if (options.UseOutputCorrection) _correction = AddParameter("D", WeightRules.Constant((float)options.CorrectionFactor), options.NumHeads);
        AddRate();
        AddProjections(options.KeyDim, options.KeyDim, options.ValueDim);
        AddDecay();
        AddSteps();
        AddGatedOutput(options.UseOutputGate ? NormGate.Sigmoid : null);
    }

    /// <inheritdoc/>
    protected override Tensor Mix(MixerInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        var (q, k, v) = ProjectActivated(input);
        (q, k, v) = (Heads(q, _options.HeadDim), Heads(k, _options.HeadDim), Heads(v, _options.HeadV));
        var p = _innerDecay != null ? Elementwise.Mul(k, Activations.Sigmoid(_innerDecay).View(-1, 1)) : k;
        if (_correction != null) q = Elementwise.Add(q, Elementwise.Mul(p, _correction.View(-1, 1)), 1, -1);
        var (g, beta) = (LogDecay(input)!, Activations.Sigmoid(RawBeta(input)));

        var before = input.State(LayerCache.RecurrentState);
        var isKept = input.Cache != null;
        var (o, after) = input.Mode == AttnMode.FusedRecurrent
            ? DeltaOps.FusedRecurrentComba(q: q, k: k, p: p, v: v, g: g, beta: beta, initialState: before, outputFinalState: isKept, useQkL2NormInKernel: true,
                cuSeqlens: input.CuSeqlens, finalState: input.StateInPlace(LayerCache.RecurrentState))
            : DeltaOps.ChunkComba(q: q, k: k, v: v, p: p, g: g, beta: beta, initialState: before, outputFinalState: isKept, useQkL2NormInKernel: true,
                cuSeqlens: input.CuSeqlens);
        input.Store(LayerCache.RecurrentState, after);
        return Output(input, o);
    }
}
