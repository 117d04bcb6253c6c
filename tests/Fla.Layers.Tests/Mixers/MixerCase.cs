using Fla.Vulkan;

namespace Fla.Layers.Tests;

/// <summary>A small token mixer with a telling name, for tests that hold for all of them.</summary>
public sealed record MixerCase(string Name, Func<ComputeDevice, DType, TokenMixer> Create, bool IsPackable = true)
{
    private const int Hidden = 32;

    /// <summary>One of each kind, and of each option that changes what is computed.</summary>
    public static IReadOnlyList<MixerCase> All { get; } =
    [
        Gla("gla", new()),
        Gla("gla kv groups, clamped", new() { NumKvHeads = 1, ClampMin = -0.02 }),
        Gla("gla convolutions", new() { UseShortConv = true, ConvBias = true, FeatureMap = "relu" }),
        Gla("gla ungated", new() { UseOutputGate = false }),
        Gla("gla sigmoid gate", new() { GateFn = "sigmoid", ElementwiseAffine = false }),
        Retention("retention", new()),
        Retention("retention kv groups, unfused", new() { NumKvHeads = 1, FuseNorm = false, FeatureMap = "gelu" }),
        Simple("simple_gla", new()),
        Simple("simple_gla kv groups, no convolutions", new() { NumKvHeads = 1, UseShortConv = false }),
        Linear("linear", new()),
        Linear("linear kv groups, normalised", new() { FeatureMap = "elu", NumKvHeads = 1, NormFeatureMap = true, NormQ = true, NormK = true }),
        Linear("linear hedgehog, tied", new() { FeatureMap = "hedgehog", TieFeatureMapQk = true }),
        Linear("linear dpfp", new() { FeatureMap = "dpfp" }),
        Linear("linear t2r", new() { FeatureMap = "t2r" }),
        Linear("linear identity", new() { FeatureMap = "identity" }),
    ];

    /// <inheritdoc/>
    public override string ToString() => Name;

    /// <summary>A layer with fresh weights large enough to matter.</summary>
    public TokenMixer Build(ComputeDevice device, DType type = DType.Float32)
    {
        var mixer = Create(device, type);
        mixer.Initialize(new Initializer(11, 0.2));
        return mixer;
    }

    private static MixerCase Gla(string name, GatedLinearAttentionOptions o) =>
        new(name, (d, t) => new GatedLinearAttention(d, o with { HiddenSize = Hidden, NumHeads = 2 }, t));

    private static MixerCase Retention(string name, MultiScaleRetentionOptions o) =>
        new(name, (d, t) => new MultiScaleRetention(d, o with { HiddenSize = Hidden, NumHeads = 2 }, t));

    private static MixerCase Simple(string name, SimpleGatedLinearAttentionOptions o) =>
        new(name, (d, t) => new SimpleGatedLinearAttention(d, o with { HiddenSize = Hidden, NumHeads = 2 }, t));

    private static MixerCase Linear(string name, LinearAttentionOptions o) =>
        new(name, (d, t) => new LinearAttention(d, o with { HiddenSize = Hidden, NumHeads = 2 }, t), IsPackable: false);
}
