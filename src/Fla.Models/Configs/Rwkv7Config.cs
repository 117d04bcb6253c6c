using System.Text.Json.Nodes;
using Fla.Layers;
using Fla.Vulkan;

namespace Fla.Models.Configs;

/// <summary>Configuration of RWKV-7 models (Peng et al., "RWKV-7 Goose with Expressive Dynamic State Evolution", 2025).</summary>
public sealed class Rwkv7Config : ModelConfig
{
    /// <summary>The family's <c>model_type</c>.</summary>
    public const string Name = "rwkv7";

    private const string ValueDimField = "value_dim";
    private const string MixturePrefix = ".attn.x_";
    private const string Mixtures = "rwkvag";
    private const int FfnUnit = 32;
    private const double EmbeddingRange = 1e-4;

    /// <summary>A configuration with fla's defaults.</summary>
    public Rwkv7Config() => (HiddenAct, NormEps, UseL2Warp) = ("sqrelu", 1e-5, true);

    /// <inheritdoc/>
    public override string ModelType => Name;

    /// <inheritdoc/>
    public override string Architecture => "RWKV7ForCausalLM";

    /// <summary><c>head_dim</c>: width of a key, K; null for D / <see cref="NumHeads"/>.</summary>
    public int? HeadDim { get; set; } = 64;

    /// <summary><c>num_heads</c>: without effect where there is a <see cref="HeadDim"/>.</summary>
    public int? NumHeads { get; set; }

    /// <summary><c>decay_low_rank_dim</c>: rank of the decays; null for a rule.</summary>
    public int? DecayLowRankDim { get; set; } = 64;

    /// <summary><c>gate_low_rank_dim</c>: rank of the output gate; null for a rule.</summary>
    public int? GateLowRankDim { get; set; } = 128;

    /// <summary><c>a_low_rank_dim</c>: rank of the in-context learning rates; null for a rule.</summary>
    public int? ALowRankDim { get; set; } = 64;

    /// <summary><c>v_low_rank_dim</c>: rank of the mixture of values with the first layer's; null for a rule.</summary>
    public int? VLowRankDim { get; set; } = 16;

    /// <summary><c>norm_first</c>: whether the embeddings are normed.</summary>
    public bool NormFirst { get; set; } = true;

    /// <summary><c>norm_bias</c>: whether layer norms have biases.</summary>
    public bool NormBias { get; set; } = true;

    /// <summary><c>value_dim</c>: width of all values in each layer, multiples of D; null for D everywhere.</summary>
    public IReadOnlyList<int>? ValueDim { get; set; }

    /// <summary>Width of the channel mixing, I: <see cref="ModelConfig.IntermediateSize"/>, or D times the ratio, rounded down, then up to a multiple of 32.</summary>
    public override int MlpWidth => IntermediateSize ?? checked((int)Math.Ceiling(Math.Floor(HiddenSize * (HiddenRatio ?? 4)) / FfnUnit) * FfnUnit);

    /// <inheritdoc/>
    public override void SetSizes(int hiddenSize, int layers, int heads)
    {
        base.SetSizes(hiddenSize, layers, heads);
        (HeadDim, NumHeads, ValueDim) = (Math.Max(1, hiddenSize / heads), null, null);
    }

    /// <inheritdoc/>
    protected override ReadOnlySpan<string> AbsentFields => new[] { "elementwise_affine", "fuse_swiglu", "attnres_block_size" };

    /// <inheritdoc/>
    protected override ReadOnlySpan<string> AllowedActivations => new[] { "relu", "sigmoid", "logsigmoid", "silu", "swish", "sqrelu", "gelu" };

    internal override WeightRule EmbeddingRule => WeightRules.Uniform(-EmbeddingRange, EmbeddingRange);

    internal override WeightRule HeadRule => WeightRules.Orthogonal(0.5 * Math.Sqrt(Math.Max(1, (double)VocabSize / HiddenSize)));

    internal override string MlpWeight => "ffn.key.weight";

    /// <summary>Version 1 of fla's layer kept its six mixtures in one matrix x_x.</summary>
    internal override StackedKey? OlderKey(string key) =>
        key[..^1] is var stem && stem.EndsWith(MixturePrefix, StringComparison.Ordinal) && Mixtures.IndexOf(key[^1], StringComparison.Ordinal) is >= 0 and var row
            ? new StackedKey(stem + "x", row, Mixtures.Length)
            : null;

    internal override Rwkv7Attention CreateMixer(ComputeDevice device, int layer, DType dtype) => new(device, Common(new Rwkv7AttentionOptions
    {
        HeadDim = HeadDim,
        NumHeads = NumHeads,
        DecayLowRankDim = DecayLowRankDim,
        GateLowRankDim = GateLowRankDim,
        ALowRankDim = ALowRankDim,
        VLowRankDim = VLowRankDim,
        FuseNorm = FuseNorm,
        ValueDim = ValueDim?[layer],
        NumHiddenLayers = NumHiddenLayers,
    }, layer), dtype);

    internal override bool HasUsualBlocks => false;

    internal override Block CreateBlock(ComputeDevice device, int layer, DType dtype) => new Rwkv7Block(device, this, layer, dtype);

    internal override Norm CreateNorm(ComputeDevice device, DType dtype) => new LayerNorm(device, HiddenSize, NormEps, NormBias, dtype);

    /// <inheritdoc/>
    protected override void Exchange(ConfigFields fields)
    {
        ArgumentNullException.ThrowIfNull(fields);
        base.Exchange(fields);
        HeadDim = fields.IntOrNull("head_dim", HeadDim, 1, MaxWidth);
        NumHeads = fields.IntOrNull("num_heads", NumHeads, 1, MaxWidth);
        DecayLowRankDim = fields.IntOrNull("decay_low_rank_dim", DecayLowRankDim, 1, MaxWidth);
        GateLowRankDim = fields.IntOrNull("gate_low_rank_dim", GateLowRankDim, 1, MaxWidth);
        ALowRankDim = fields.IntOrNull("a_low_rank_dim", ALowRankDim, 1, MaxWidth);
        VLowRankDim = fields.IntOrNull("v_low_rank_dim", VLowRankDim, 1, MaxWidth);
        NormFirst = fields.Bool("norm_first", NormFirst);
        NormBias = fields.Bool("norm_bias", NormBias);
        ValueDim = fields.Custom(ValueDimField, ValueDim, ReadWidths, WriteWidths);
    }

    /// <inheritdoc/>
    protected override void Check()
    {
        base.Check();
        if (HeadDim is null && NumHeads is null)
        {
            throw new ConfigException("is null, and so is num_heads", "head_dim");
        }

        if (HiddenSize % (HeadDim ?? NumHeads!.Value) != 0)
        {
            throw new ConfigException($"{HeadDim ?? NumHeads} does not divide hidden_size {HiddenSize}", HeadDim is null ? "num_heads" : "head_dim");
        }

        if (ValueDim is { } widths && widths.Count != NumHiddenLayers)
        {
            throw new ConfigException($"has {widths.Count} widths for {NumHiddenLayers} layers", ValueDimField);
        }

        foreach (var width in ValueDim ?? [])
        {
            if (width < 1 || width > MaxWidth || width % HiddenSize != 0)
            {
                throw new ConfigException($"{width} is no multiple of hidden_size {HiddenSize}", ValueDimField);
            }
        }
    }

    private IReadOnlyList<int>? ReadWidths(JsonNode? node) => node switch
    {
        null => null,
        JsonArray list => [.. list.Select(item => ConfigFields.ReadInt(ValueDimField, item))],
        _ => [.. Enumerable.Repeat(ConfigFields.ReadInt(ValueDimField, node), NumHiddenLayers)],
    };

    /// <summary>fla writes a width for every layer.</summary>
    private JsonArray WriteWidths(IReadOnlyList<int>? widths) => [.. (widths ?? Enumerable.Repeat(HiddenSize, NumHiddenLayers)).Select(width => JsonValue.Create(width))];
}
