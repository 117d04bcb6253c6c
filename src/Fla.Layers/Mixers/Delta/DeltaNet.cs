using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>Settings of <see cref="DeltaNet"/>; defaults are fla's.</summary>
public sealed record DeltaNetOptions : HeadOptions
{
    /// <summary>Whether the steps are learned; else they are 1.</summary>
    public bool UseBeta { get; init; } = true;

    /// <summary>Whether the normed output is multiplied by a gate.</summary>
    public bool UseGate { get; init; }

    /// <summary>Whether q, k and v pass a short convolution.</summary>
    public bool UseShortConv { get; init; } = true;

    /// <summary>Kernel width of the convolutions.</summary>
    public int ConvSize { get; init; } = 4;

    /// <summary>Whether the convolutions have a bias.</summary>
    public bool ConvBias { get; init; }

    /// <summary>Whether the steps reach 2, which lets the memory turn signs (Grazzi et al. 2024).</summary>
    public bool AllowNegEigval { get; init; }

    /// <summary>What queries and keys pass: silu, relu, elu (plus 1), identity.</summary>
    public string QkActivation { get; init; } = "silu";

    /// <summary>What queries and keys are divided by: their length (l2) or their sum (sum).</summary>
    public string QkNorm { get; init; } = "l2";

    /// <inheritdoc/>
    internal override void Check()
    {
        base.Check();
        if (NumKvHeads != null || FeatureMap != null) throw new ArgumentException("DeltaNet has neither num_kv_heads nor a feature_map");
        if (QkActivation is not ("silu" or "relu" or "elu" or "identity")) throw new ArgumentException($"qk_activation '{QkActivation}' is none of silu, relu, elu, identity");
        if (QkNorm is not ("l2" or "sum")) throw new ArgumentException($"qk_norm '{QkNorm}' is neither l2 nor sum");
    }
}

/// <summary>
/// DeltaNet (Schlag et al. 2021; Yang et al., "Parallelizing Linear Transformers with the Delta Rule over Sequence Length", 2024):
/// S ← S + k (β(v − Sᵀk))ᵀ, o = K^(-1/2) Sᵀ q, β = σ(Wx).
/// </summary>
public sealed class DeltaNet : DeltaMixer
{
    private readonly DeltaNetOptions _options;
    private readonly Linear? _beta;
    private readonly Linear? _gate;

    /// <summary>A layer.</summary>
    /// <param name="device">Where.</param>
    /// <param name="options">Settings.</param>
    /// <param name="dtype">Float type of parameters and activations.</param>
    /// <exception cref="ShapeException">Heads do not divide widths.</exception>
    /// <exception cref="ArgumentException">An unknown activation, norm or mode.</exception>
    public DeltaNet(ComputeDevice device, DeltaNetOptions options, DType dtype = DType.Float32)
        : base(device, options, dtype)
    {
        _options = options;
        AddProjections(options.KeyDim, options.KeyDim, options.ValueDim);
        if (options.UseBeta) _beta = AddModule("b_proj", () => new Linear(device, HiddenSize, options.NumHeads, dtype: dtype));
        if (options.UseShortConv) AddConvolutions(options.ConvSize, options.ConvBias, IsSilu ? ConvolutionActivation.Silu : ConvolutionActivation.None);
        if (options.UseGate) _gate = AddModule("g_proj", () => new Linear(device, HiddenSize, options.ValueDim, dtype: dtype));
        AddOutput(options.NumHeads, options.HeadV, options.NormEps, options.UseGate ? NormGate.Swish : null);
    }

    private bool IsSilu => _options.QkActivation == "silu";

    /// <inheritdoc/>
    protected override Tensor Mix(MixerInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        var (q, k, v) = ProjectActivated(input, IsSilu);
        (q, k, v) = (Map(Heads(q, _options.HeadK)), Map(Heads(k, _options.HeadK)), Heads(v, _options.HeadV));
        var beta = _beta != null ? Activations.Sigmoid(input.Project(_beta)) : Tensor.Full(Device, DType, 1, q.Shape[..3]);
        if (_options.AllowNegEigval) beta = Elementwise.Scale(beta, 2);

        var before = input.State(LayerCache.RecurrentState);
        var isKept = input.Cache != null;
        var isL2 = _options.QkNorm == "l2";
        var (o, after) = input.Mode == AttnMode.FusedRecurrent
            ? DeltaOps.FusedRecurrentDeltaRule(q, k, v, beta, initialState: before, outputFinalState: isKept, useQkL2NormInKernel: isL2, cuSeqlens: input.CuSeqlens,
                finalState: input.StateInPlace(LayerCache.RecurrentState))
            : DeltaOps.ChunkDeltaRule(q, k, v, beta, initialState: before, outputFinalState: isKept, useQkL2NormInKernel: isL2, cuSeqlens: input.CuSeqlens);
        input.Store(LayerCache.RecurrentState, after);
        return Output(input, o, input.Project(_gate));
    }

    private Tensor Map(Tensor x)
    {
        var mapped = _options.QkActivation switch
        {
            "relu" => Activations.Relu(x),
            "elu" => Activations.EluPlusOne(x),
            _ => x,
        };
        return _options.QkNorm == "sum" ? Softmaxes.SumNormalize(mapped, 0) : mapped;
    }
}
