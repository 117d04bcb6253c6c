using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>Settings of <see cref="LinearAttention"/>; defaults are fla's.</summary>
public sealed record LinearAttentionOptions : HeadOptions
{
    /// <summary>fla's defaults.</summary>
    public LinearAttentionOptions()
    {
        NumHeads = 8;
        FeatureMap = "elementwise_product";
    }

    /// <summary>Whether q and k share the feature map's parameters.</summary>
    public bool TieFeatureMapQk { get; init; }

    /// <summary>Whether mapped queries are divided by their sum.</summary>
    public bool NormQ { get; init; }

    /// <summary>Whether mapped keys are divided by their sum.</summary>
    public bool NormK { get; init; }

    /// <summary>Whether the output is divided by the sum of its weights.</summary>
    public bool NormFeatureMap { get; init; }
}

/// <summary>
/// Linear attention (Katharopoulos et al., "Transformers are RNNs", 2020): S ← S + φ(k) vᵀ, o = F^(-1/2) Sᵀ φ(q), then RMSNorm per head. Padding is
/// multiplied away, so it must be on the left; packed sequences run into one another, as in fla.
/// </summary>
public sealed class LinearAttention : TokenMixer
{
    private const string NormalizerSlot = "normalizer";
    private const float SumEps = 1e-4f;

    private readonly LinearAttentionOptions _options;
    private readonly FeatureMap _mapQ;
    private readonly FeatureMap _mapK;
    private readonly Linear _q;
    private readonly Linear _k;
    private readonly Linear _v;
    private readonly RmsNorm _norm;
    private readonly Linear _o;

    /// <summary>A layer.</summary>
    /// <param name="device">Where.</param>
    /// <param name="options">Settings.</param>
    /// <param name="dtype">Float type of parameters and activations.</param>
    /// <exception cref="ShapeException">Heads do not divide widths.</exception>
    /// <exception cref="ArgumentException">An unknown feature map or mode.</exception>
    public LinearAttention(ComputeDevice device, LinearAttentionOptions options, DType dtype = DType.Float32)
        : base(device, options, dtype)
    {
        _options = options;
        var map = options.FeatureMap ?? throw new ArgumentException("LinearAttention needs a feature map; 'identity' is one", nameof(options));
        _mapQ = AddModule("feature_map_q", () => FeatureMap.Create(map, device, options.HeadK, dtype));
        _mapK = AddModule("feature_map_k", () => options.TieFeatureMapQk ? _mapQ : FeatureMap.Create(map, device, options.HeadK, dtype));
        _q = AddModule("q_proj", () => new Linear(device, HiddenSize, options.KeyDim, dtype: dtype));
        _k = AddModule("k_proj", () => new Linear(device, HiddenSize, options.KeyDim / options.Groups, dtype: dtype));
        _v = AddModule("v_proj", () => new Linear(device, HiddenSize, options.ValueDim / options.Groups, dtype: dtype));
        _norm = AddModule("norm", () => new RmsNorm(device, options.HeadV, options.NormEps, options.ElementwiseAffine, dtype));
        _o = AddModule("o_proj", () => new Linear(device, options.ValueDim, HiddenSize, dtype: dtype));
    }

    /// <inheritdoc/>
    protected override bool DropsPadding => false;

    /// <inheritdoc/>
    public override bool UsesCuSeqlens => false;

    /// <inheritdoc/>
    protected override Tensor Mix(MixerInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        var q = _mapQ.Forward(Heads(input.Project(_q), _options.HeadK));
        var k = _mapK.Forward(Repeat(Heads(input.Project(_k), _options.HeadK)));
        var v = Repeat(Mask(Heads(input.Project(_v), _options.HeadV)));
        if (_options.NormQ) q = Softmaxes.SumNormalize(q, SumEps);
        if (_options.NormK) k = Softmaxes.SumNormalize(k, SumEps);
        // fla leaves the keys of padding in the normaliser, so that a row's result depends on the length of its neighbours; here they are masked too.
        if (_options.NormFeatureMap) k = Mask(k);

        var before = input.State(LayerCache.RecurrentState);
        var normalizer = _options.NormFeatureMap ? input.State(NormalizerSlot) : null;
        var isKept = input.Cache != null;
        var (o, after, normalizerAfter) = input.Mode switch
        {
            AttnMode.FusedRecurrent => LinearOps.FusedRecurrentLinearAttn(q, k, v, initialState: before, initialNormalizer: normalizer, outputFinalState: isKept,
                normalize: _options.NormFeatureMap, finalState: input.StateInPlace(LayerCache.RecurrentState)),
            AttnMode.FusedChunk => LinearOps.FusedChunkLinearAttn(q, k, v, initialState: before, initialNormalizer: normalizer, outputFinalState: isKept,
                normalize: _options.NormFeatureMap),
            _ => LinearOps.ChunkLinearAttn(q, k, v, initialState: before, initialNormalizer: normalizer, outputFinalState: isKept, normalize: _options.NormFeatureMap),
        };
        input.Store(LayerCache.RecurrentState, after);
        input.Store(NormalizerSlot, normalizerAfter);
        return input.Finish(_o, _norm.Forward(o).View(o.Size(0), o.Size(1), _options.ValueDim));

        Tensor Mask(Tensor x) => input.Padding?.Mask(x) ?? x;

        Tensor Repeat(Tensor x) => _options.Groups == 1 ? x : Rows.RepeatHeads(x, _options.Groups);
    }
}
