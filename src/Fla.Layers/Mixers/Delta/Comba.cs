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
public sealed class Comba : DeltaMixer
{
    private readonly CombaOptions _options;
    private readonly Tensor? _innerDecay;
    private readonly Tensor? _correction;
    private readonly Tensor _aLog;
    private readonly Tensor _dtBias;
    private readonly Linear _decay;
    private readonly Linear _beta;
    private readonly Linear? _gate;

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
        _aLog = AddParameter("A_log", WeightRules.LogUniform(0, 16), options.ValueHeads);
        _dtBias = AddParameter("dt_bias", WeightRules.InverseSoftplusOfStep, options.ValueHeads);
        AddProjections(options.KeyDim, options.KeyDim, options.ValueDim);
        _decay = AddModule("a_proj", () => new Linear(device, HiddenSize, options.ValueHeads, dtype: dtype));
        _beta = AddModule("b_proj", () => new Linear(device, HiddenSize, options.ValueHeads, dtype: dtype));
        if (options.UseShortConv) AddConvolutions(options.ConvSize, options.ConvBias);
        if (options.UseOutputGate) _gate = AddModule("g_proj", () => new Linear(device, HiddenSize, options.ValueDim, dtype: dtype));
        AddOutput(options.ValueHeads, options.HeadV, options.NormEps, options.UseOutputGate ? NormGate.Sigmoid : null);
    }

    /// <inheritdoc/>
    protected override Tensor Mix(MixerInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        var (q, k, v) = ProjectActivated(input);
        (q, k, v) = (Heads(q, _options.HeadDim), Heads(k, _options.HeadDim), Heads(v, _options.HeadV));
        var p = _innerDecay != null ? Elementwise.Mul(k, Activations.Sigmoid(_innerDecay).View(-1, 1)) : k;
        if (_correction != null) q = Elementwise.Add(q, Elementwise.Mul(p, _correction.View(-1, 1)), 1, -1);
        var beta = Activations.Sigmoid(_beta.Forward(input.X));
        var g = LogDecay(_decay.Forward(input.X), _aLog, _dtBias);

        var before = input.State(LayerCache.RecurrentState);
        var isKept = input.Cache != null;
        var (o, after) = input.Mode == AttnMode.FusedRecurrent
            ? DeltaOps.FusedRecurrentComba(q: q, k: k, p: p, v: v, g: g, beta: beta, initialState: before, outputFinalState: isKept, useQkL2NormInKernel: true,
                cuSeqlens: input.CuSeqlens, finalState: input.StateInPlace(LayerCache.RecurrentState))
            : DeltaOps.ChunkComba(q: q, k: k, v: v, p: p, g: g, beta: beta, initialState: before, outputFinalState: isKept, useQkL2NormInKernel: true,
                cuSeqlens: input.CuSeqlens);
        input.Store(LayerCache.RecurrentState, after);
        return Output(o, _gate?.Forward(input.X));
    }
}
