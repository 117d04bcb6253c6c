using Fla.Layers;

namespace Fla.Models.Configs;

/// <summary>What GLA, RetNet, LinearAttention and DeltaNet share: heads, and widths of keys and values as fractions of <c>hidden_size</c>.</summary>
public abstract class MultiHeadConfig : ModelConfig
{
    private const double MaxExpansion = 64;

    /// <summary><c>expand_k</c>: width of all keys over <c>hidden_size</c>.</summary>
    public double ExpandK { get; set; } = 1;

    /// <summary><c>expand_v</c>: width of all values over <c>hidden_size</c>.</summary>
    public double ExpandV { get; set; } = 1;

    /// <summary><c>num_heads</c>, H.</summary>
    public int NumHeads { get; set; } = 4;

    /// <summary><c>num_kv_heads</c>: heads of keys and values, a divisor of H; null stands for H.</summary>
    public int? NumKvHeads { get; set; }

    /// <summary><c>feature_map</c>: what is applied to queries and keys, or null.</summary>
    public string? FeatureMap { get; set; }

    /// <summary><c>use_short_conv</c>: convolutions on q, k and v.</summary>
    public bool UseShortConv { get; set; }

    /// <summary><c>conv_size</c>: kernel width of those convolutions.</summary>
    public int ConvSize { get; set; } = 4;

    /// <summary>Width of all query heads together: <c>hidden_size · expand_k</c>, rounded down.</summary>
    public int KeyDim => (int)(HiddenSize * ExpandK);

    /// <summary>Width of all value heads together, one for every query head: <c>hidden_size · expand_v</c>, rounded down.</summary>
    public int ValueDim => (int)(HiddenSize * ExpandV);

    /// <summary>Width of one key, K.</summary>
    public int HeadKeyDim => KeyDim / NumHeads;

    /// <summary>Width of one value, V.</summary>
    public int HeadValueDim => ValueDim / NumHeads;

    /// <summary>Query heads that share a key and a value head, G.</summary>
    public int NumKvGroups => NumHeads / (NumKvHeads ?? NumHeads);

    /// <inheritdoc/>
    public override void SetSizes(int hiddenSize, int layers, int heads)
    {
        base.SetSizes(hiddenSize, layers, heads);
        NumHeads = heads;
    }

    /// <summary>Values of <c>feature_map</c> that the family has, besides null.</summary>
    protected virtual ReadOnlySpan<string> AllowedFeatureMaps => new[] { "relu", "sigmoid", "logsigmoid", "silu", "swish", "sqrelu", "gelu" };

    /// <inheritdoc/>
    protected override void Exchange(ConfigFields fields)
    {
        base.Exchange(fields);
        ExpandK = fields.Float("expand_k", ExpandK, 0, MaxExpansion);
        ExpandV = fields.Float("expand_v", ExpandV, 0, MaxExpansion);
        NumHeads = fields.Int("num_heads", NumHeads, 1, MaxWidth);
        NumKvHeads = fields.IntOrNull("num_kv_heads", NumKvHeads, 1, MaxWidth);
        FeatureMap = fields.ChoiceOrNull("feature_map", FeatureMap, AllowedFeatureMaps);
        UseShortConv = fields.Bool("use_short_conv", UseShortConv);
        ConvSize = fields.Int("conv_size", ConvSize, 1, MaxWidth);
    }

    /// <inheritdoc/>
    protected override void Check()
    {
        base.Check();
        CheckWidth("expand_k", ExpandK, KeyDim);
        CheckWidth("expand_v", ExpandV, ValueDim);
        if (NumHeads % (NumKvHeads ?? NumHeads) != 0)
        {
            throw new ConfigException($"{NumKvHeads} does not divide num_heads {NumHeads}", "num_kv_heads");
        }
    }

    /// <summary>A mixer's options with what these families tell it.</summary>
    protected T Heads<T>(T options, int layer)
        where T : HeadOptions => Common(options, layer) with
        {
            ExpandK = ExpandK,
            ExpandV = ExpandV,
            NumHeads = NumHeads,
            NumKvHeads = NumKvHeads,
            FeatureMap = FeatureMap,
            ElementwiseAffine = ElementwiseAffine,
        };

    private void CheckWidth(string field, double factor, int width)
    {
        if (width < 1)
        {
            throw new ConfigException($"{factor} of hidden_size {HiddenSize} leaves no width", field);
        }

        if (width % NumHeads != 0)
        {
            throw new ConfigException($"{NumHeads} does not divide hidden_size {HiddenSize} times {field} {factor}, which is {width}", "num_heads");
        }
    }
}
