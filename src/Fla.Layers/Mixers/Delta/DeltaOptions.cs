using Fla.Vulkan;

namespace Fla.Layers;

/// <summary>
/// Settings of mixers of the delta-rule family: heads of their own width, K = <see cref="HeadDim"/>, and value heads that may outnumber those of queries and
/// keys.
/// </summary>
public abstract record DeltaOptions : MixerOptions
{
    private const double IntegerTolerance = 1e-5;

    /// <summary>fla's defaults.</summary>
    protected DeltaOptions() => HiddenSize = 2048;

    /// <summary>Heads of queries and keys, H.</summary>
    public int NumHeads { get; init; } = 6;

    /// <summary>Heads of values, a multiple of H; null for H.</summary>
    public int? NumVHeads { get; init; }

    /// <summary>Width of a key, K.</summary>
    public int HeadDim { get; init; } = 256;

    /// <summary>Width of a value over that of a key.</summary>
    public double ExpandV { get; init; } = 2;

    /// <summary>Whether q, k and v pass a short convolution before their activation.</summary>
    public bool UseShortConv { get; init; } = true;

    /// <summary>Kernel width of the convolutions.</summary>
    public int ConvSize { get; init; } = 4;

    /// <summary>Whether the convolutions have a bias.</summary>
    public bool ConvBias { get; init; }

    /// <summary>Heads of values, HV.</summary>
    internal int ValueHeads => NumVHeads ?? NumHeads;

    /// <summary>Width of a value, V.</summary>
    internal int HeadV => (int)Math.Round(HeadDim * ExpandV);

    /// <summary>Width of all keys.</summary>
    internal int KeyDim => NumHeads * HeadDim;

    /// <summary>Width of all values.</summary>
    internal int ValueDim => ValueHeads * HeadV;

    /// <summary>Value heads for each key head.</summary>
    internal int Groups => ValueHeads / NumHeads;

    /// <inheritdoc/>
    internal override void Check()
    {
        if (HiddenSize < 1 || NumHeads < 1 || HeadDim < 1) throw new ShapeException("hidden_size, num_heads and head_dim must be positive");
        if (NumVHeads is { } heads && (heads < 1 || heads % NumHeads != 0)) throw new ShapeException($"{heads} value heads are no multiple of {NumHeads} heads");
        if (HeadV < 1 || Math.Abs((HeadDim * ExpandV) - HeadV) > IntegerTolerance * HeadV)
        {
            throw new ShapeException($"expand_v {ExpandV} times head_dim {HeadDim} is no width");
        }
    }
}
