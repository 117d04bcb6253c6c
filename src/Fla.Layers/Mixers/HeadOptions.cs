using Fla.Vulkan;

namespace Fla.Layers;

/// <summary>Settings of mixers whose queries, keys and values are fractions of D.</summary>
public abstract record HeadOptions : MixerOptions
{
    /// <summary>Width of all keys over D.</summary>
    public double ExpandK { get; init; } = 1;

    /// <summary>Width of all values over D.</summary>
    public double ExpandV { get; init; } = 1;

    /// <summary>Query heads, H.</summary>
    public int NumHeads { get; init; } = 4;

    /// <summary>Key and value heads, a divisor of H; null for H.</summary>
    public int? NumKvHeads { get; init; }

    /// <summary>What is applied to queries and keys, or null.</summary>
    public string? FeatureMap { get; init; }

    /// <summary>Whether norms inside the layer have a weight.</summary>
    public bool ElementwiseAffine { get; init; } = true;

    /// <summary>Width of all query heads, ⌊D·expand_k⌋.</summary>
    internal int KeyDim => (int)(HiddenSize * ExpandK);

    /// <summary>Width of all value heads, one for each query head.</summary>
    internal int ValueDim => (int)(HiddenSize * ExpandV);

    /// <summary>Width of a key, K.</summary>
    internal int HeadK => KeyDim / NumHeads;

    /// <summary>Width of a value, V.</summary>
    internal int HeadV => ValueDim / NumHeads;

    /// <summary>Query heads for each key head, G.</summary>
    internal int Groups => NumHeads / (NumKvHeads ?? NumHeads);

    /// <inheritdoc/>
    internal override void Check()
    {
        if (HiddenSize < 1 || NumHeads < 1 || KeyDim < 1 || ValueDim < 1)
        {
            throw new ShapeException("hidden_size, num_heads and the widths of keys and values must be positive");
        }
        if (KeyDim % NumHeads != 0) throw new ShapeException($"{NumHeads} heads do not divide the key width {KeyDim}");
        if (ValueDim % NumHeads != 0) throw new ShapeException($"{NumHeads} heads do not divide the value width {ValueDim}");
        if (NumKvHeads is { } kv && (kv < 1 || NumHeads % kv != 0)) throw new ShapeException($"{kv} key heads do not divide {NumHeads} query heads");
    }
}
