using Fla.Vulkan;

namespace Fla.Layers.Tests;

/// <summary>A small token mixer with a telling name, for tests that hold for all of them.</summary>
public sealed record MixerCase(string Name, Func<ComputeDevice, DType, TokenMixer> Create, bool IsPackable = true)
{
    private const int Hidden = 32;
    private const int Head = 16;

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
        DeltaNet("delta_net", new()),
        DeltaNet("delta_net gated, no convolutions, identity", new() { UseGate = true, UseShortConv = false, QkActivation = "identity", AllowNegEigval = true }),
        DeltaNet("delta_net elu, sums", new() { QkActivation = "elu", QkNorm = "sum", UseBeta = false, ConvBias = true, ExpandK = 0.5 }),
        DeltaNet("delta_net relu", new() { QkActivation = "relu", ExpandV = 2 }),
        Gdn("gated_deltanet", new()),
        Gdn("gated_deltanet value heads, negative, ungated", new() { NumVHeads = 4, AllowNegEigval = true, UseGate = false, UseShortConv = false }),
        Product("gated_deltaproduct", new()),
        Product("gated_deltaproduct three, no decay, ungated", new() { NumHouseholder = 3, UseForgetGate = false, UseOutputGate = false, AllowNegEigval = false }),
        Product("gated_deltaproduct value heads, one", new() { NumHouseholder = 1, NumVHeads = 4 }),
        CombaOf("comba", new()),
        CombaOf("comba value heads, ungated", new() { NumVHeads = 4, UseOutputGate = false, ConvBias = true }),
        CombaOf("comba bare", new() { UseInnerDecay = false, UseOutputCorrection = false, UseShortConv = false }),
        Kda("kda", new()),
        Kda("kda value heads, bounded, negative", new() { NumVHeads = 4, SafeGate = true, LowerBound = -5, AllowNegEigval = true }),
        Kda("kda low bound, no convolutions", new() { LowerBound = -8, ExpandV = 2, UseShortConv = false }),
        Gdn2("gdn2", new()),
        Gdn2("gdn2 value heads, bounded, negative", new() { NumVHeads = 4, SafeGate = true, AllowNegEigval = true }),
        Softmax("attention", new()),
        Softmax("attention window, kv groups, biases, normed", new() { NumKvHeads = 1, WindowSize = 9, QkvBias = true, QkNorm = true, RopeTheta = 500 }),
        Rwkv7("rwkv7", new() { FuseNorm = true }),
        Rwkv7("rwkv7 wide values", new() { ValueDim = 64, HeadDim = null, NumHeads = 2, ALowRankDim = 5 }),
    ];

    /// <inheritdoc/>
    public override string ToString() => Name;

    /// <summary>A layer with fresh weights large enough to matter.</summary>
    public TokenMixer Build(ComputeDevice device, DType type = DType.Float32)
    {
        var mixer = Create(device, type);
        mixer.Initialize(new Initializer(11, 0.2));
        // Some weights start at zero, and what is multiplied by them with it.
        var noise = new Initializer(12, 0.1);
        foreach (var (name, parameter) in mixer.NamedParameters().Where(p => p.Key.Contains("lora", StringComparison.Ordinal)))
        {
            var start = parameter.ToSingle();
            noise.Normal(parameter, name);
            parameter.Write([.. parameter.ToSingle().Zip(start, (x, y) => x + y)]);
        }
        return mixer;
    }

    private static MixerCase DeltaNet(string name, DeltaNetOptions o) =>
        new(name, (d, t) => new DeltaNet(d, o with { HiddenSize = Hidden, NumHeads = 2 }, t));

    private static MixerCase Gdn(string name, GatedDeltaNetOptions o) =>
        new(name, (d, t) => new GatedDeltaNet(d, o with { HiddenSize = Hidden, NumHeads = 2, HeadDim = Head }, t));

    private static MixerCase Product(string name, GatedDeltaProductOptions o) =>
        new(name, (d, t) => new GatedDeltaProduct(d, o with { HiddenSize = Hidden, NumHeads = 2, HeadDim = Head, ExpandV = 1 }, t));

    private static MixerCase CombaOf(string name, CombaOptions o) =>
        new(name, (d, t) => new Comba(d, o with { HiddenSize = Hidden, NumHeads = 2, HeadDim = Head }, t));

    private static MixerCase Kda(string name, KimiDeltaAttentionOptions o) =>
        new(name, (d, t) => new KimiDeltaAttention(d, o with { HiddenSize = Hidden, NumHeads = 2, HeadDim = Head }, t));

    private static MixerCase Gdn2(string name, GatedDeltaNet2Options o) =>
        new(name, (d, t) => new GatedDeltaNet2(d, o with { HiddenSize = Hidden, NumHeads = 2, HeadDim = Head }, t));

    private static MixerCase Softmax(string name, AttentionOptions o) =>
        new(name, (d, t) => new Attention(d, o with { HiddenSize = Hidden, NumHeads = 2 }, t));

    private static MixerCase Rwkv7(string name, Rwkv7AttentionOptions o) =>
        new(name, (d, t) => new Rwkv7Attention(d, o with { HiddenSize = Hidden, HeadDim = o.HeadDim == null ? null : Head, LayerIdx = 0 }, t));

    private static MixerCase Gla(string name, GatedLinearAttentionOptions o) =>
        new(name, (d, t) => new GatedLinearAttention(d, o with { HiddenSize = Hidden, NumHeads = 2 }, t));

    private static MixerCase Retention(string name, MultiScaleRetentionOptions o) =>
        new(name, (d, t) => new MultiScaleRetention(d, o with { HiddenSize = Hidden, NumHeads = 2 }, t));

    private static MixerCase Simple(string name, SimpleGatedLinearAttentionOptions o) =>
        new(name, (d, t) => new SimpleGatedLinearAttention(d, o with { HiddenSize = Hidden, NumHeads = 2 }, t));

    private static MixerCase Linear(string name, LinearAttentionOptions o) =>
        new(name, (d, t) => new LinearAttention(d, o with { HiddenSize = Hidden, NumHeads = 2 }, t), IsPackable: false);
}
