using Fla.Vulkan;

namespace Fla.Layers;

/// <summary>Settings of <see cref="Rwkv7Attention"/>; defaults are fla's.</summary>
public sealed record Rwkv7AttentionOptions : MixerOptions
{
    private const int RankUnit = 32;

    /// <summary>Width of a key, K; null for D / <see cref="NumHeads"/>.</summary>
    public int? HeadDim { get; init; } = 64;

    /// <summary>Number of heads where <see cref="HeadDim"/> is null.</summary>
    public int? NumHeads { get; init; }

    /// <summary>Rank of the decays; null for a rule.</summary>
    public int? DecayLowRankDim { get; init; }

    /// <summary>Rank of the output gate; null for a rule.</summary>
    public int? GateLowRankDim { get; init; }

    /// <summary>Rank of the in-context learning rates; null for a rule.</summary>
    public int? ALowRankDim { get; init; }

    /// <summary>Rank of the mixture of values with the first layer's; null for a rule.</summary>
    public int? VLowRankDim { get; init; }

    /// <summary>Whether the group norm has a weight and a bias.</summary>
    public bool ElementwiseAffine { get; init; } = true;

    /// <summary>Whether removal keys are brought to unit length by √(Σx² + 1e-6) instead of √Σx².</summary>
    public bool FuseNorm { get; init; }

    /// <summary>Width of all values; null for D.</summary>
    public int? ValueDim { get; init; }

    /// <summary>Layers of the model: fresh weights depend on it; null for a layer by itself.</summary>
    public int? NumHiddenLayers { get; init; }

    /// <summary>Number of heads, H.</summary>
    internal int Heads => HeadDim is { } width ? HiddenSize / width : NumHeads ?? 0;

    /// <summary>Width of a key.</summary>
    internal int HeadK => HeadDim ?? HiddenSize / Heads;

    /// <summary>Width of all values.</summary>
    internal int Values => ValueDim ?? HiddenSize;

    /// <summary>Width of a value.</summary>
    internal int HeadV => Values / Heads;

    internal int DecayRank => DecayLowRankDim ?? Rank(2.5 * HeadK / 64);

    internal int GateRank => GateLowRankDim ?? Rank(5);

    internal int LearningRank => ALowRankDim ?? Rank(2.5 * HeadK / 64);

    internal int ValueRank => VLowRankDim ?? Rank(1.7 * HeadK / 64);

    /// <inheritdoc/>
    internal override void Check()
    {
        if (HiddenSize < 1 || (HeadDim ?? 1) < 1 || (NumHeads ?? 1) < 1) throw new ShapeException("hidden_size, head_dim and num_heads must be positive");
        if (HeadDim == null && NumHeads == null) throw new ShapeException("either head_dim or num_heads is needed");
        if (Heads < 1 || HeadK * Heads != HiddenSize) throw new ShapeException($"heads do not divide the width {HiddenSize}");
        if (Values < 1 || Values % Heads != 0) throw new ShapeException($"{Heads} heads do not divide the value width {Values}");
        foreach (var rank in (ReadOnlySpan<int>)[DecayRank, GateRank, LearningRank, ValueRank])
        {
            if (rank < 1) throw new ShapeException($"a rank cannot be {rank}");
        }
    }

    private int Rank(double factor) => Math.Max(RankUnit, (int)Math.Round(factor * Math.Sqrt(HiddenSize) / RankUnit) * RankUnit);
}
