using Fla.Layers;

namespace Fla.Models.Configs;

/// <summary>What Gated DeltaNet, Gated DeltaProduct, KDA and Comba share: heads of their own width, value heads that may be more, and short convolutions.</summary>
public abstract class HeadDimConfig : ModelConfig
{
    private const double MaxExpansion = 64;
    private const double IntegerTolerance = 1e-5;

    /// <summary><c>num_heads</c>: heads of queries and keys, H.</summary>
    public int NumHeads { get; set; } = 6;

    /// <summary><c>num_v_heads</c>: heads of values, a multiple of H; null stands for H.</summary>
    public int? NumVHeads { get; set; }

    /// <summary><c>head_dim</c>: width of a key, K.</summary>
    public int HeadDim { get; set; } = 256;

    /// <summary><c>expand_v</c>: width of a value over that of a key.</summary>
    public double ExpandV { get; set; } = 2;

    /// <summary><c>use_short_conv</c>: convolutions on q, k and v.</summary>
    public bool UseShortConv { get; set; } = true;

    /// <summary><c>conv_size</c>: kernel width of those convolutions.</summary>
    public int ConvSize { get; set; } = 4;

    /// <summary><c>allow_neg_eigval</c>: whether the steps of the delta rule reach 2 instead of 1.</summary>
    public bool AllowNegEigval { get; set; }

    /// <inheritdoc/>
    public override void SetSizes(int hiddenSize, int layers, int heads)
    {
        base.SetSizes(hiddenSize, layers, heads);
        (NumHeads, HeadDim) = (heads, Math.Max(1, hiddenSize / heads));
    }

    /// <inheritdoc/>
    protected override ReadOnlySpan<string> AbsentFields => new[] { "elementwise_affine" };

    /// <inheritdoc/>
    protected override ReadOnlySpan<string> AllowedActivations => new[] { "swish", "powlu" };

    /// <inheritdoc/>
    protected override void Exchange(ConfigFields fields)
    {
        base.Exchange(fields);
        NumHeads = fields.Int("num_heads", NumHeads, 1, MaxWidth);
        NumVHeads = fields.IntOrNull("num_v_heads", NumVHeads, 1, MaxWidth);
        HeadDim = fields.Int("head_dim", HeadDim, 1, MaxWidth);
        ExpandV = fields.Float("expand_v", ExpandV, 0, MaxExpansion);
        UseShortConv = fields.Bool("use_short_conv", UseShortConv);
        ConvSize = fields.Int("conv_size", ConvSize, 1, MaxWidth);
        AllowNegEigval = fields.Bool("allow_neg_eigval", AllowNegEigval);
    }

    /// <inheritdoc/>
    protected override void Check()
    {
        base.Check();
        if ((NumVHeads ?? NumHeads) % NumHeads != 0)
        {
            throw new ConfigException($"{NumVHeads} is no multiple of num_heads {NumHeads}", "num_v_heads");
        }

        var width = HeadDim * ExpandV;
        if (width < 1 || Math.Abs(width - Math.Round(width)) > IntegerTolerance * width)
        {
            throw new ConfigException($"{ExpandV} times head_dim {HeadDim} is no width", "expand_v");
        }

        if ((long)(NumVHeads ?? NumHeads) * HeadDim > MaxWidth || (NumVHeads ?? NumHeads) * width > MaxWidth)
        {
            throw new ConfigException($"{NumVHeads ?? NumHeads} heads of {HeadDim} are too wide", "num_heads");
        }
    }

    /// <summary>A mixer's options with what these families tell it.</summary>
    protected T Heads<T>(T options, int layer)
        where T : DeltaOptions => Common(options, layer) with
        {
            NumHeads = NumHeads,
            NumVHeads = NumVHeads,
            HeadDim = HeadDim,
            ExpandV = ExpandV,
            UseShortConv = UseShortConv,
            ConvSize = ConvSize,
        };
}
