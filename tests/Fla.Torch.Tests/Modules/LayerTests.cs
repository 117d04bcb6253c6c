using Fla.Testing;
using Fla.Torch.Modules;
using NUnit.Framework;
using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch.Tests.Modules;

/// <summary>Layers under their generated constructors, beside their formulas in fp64.</summary>
public sealed class LayerTests(TestDevice device) : TorchTests(device)
{
    private const int Width = 32;
    private const int Heads = 2;

    private static readonly (string Name, Func<nn.Module<Tensor, Tensor>> Create, Func<LayerFormulas, Tensor, Tensor> Formula)[] All =
    [
        ("GatedLinearAttention", () => new GatedLinearAttention(hidden_size: Width, num_heads: Heads), (f, x) => f.GatedLinearAttention(x)),
        ("MultiScaleRetention", () => new MultiScaleRetention(hidden_size: Width, num_heads: Heads), (f, x) => f.MultiScaleRetention(x)),
        ("SimpleGatedLinearAttention", () => new SimpleGatedLinearAttention(hidden_size: Width, num_heads: Heads), (f, x) => f.SimpleGatedLinearAttention(x)),
        ("LinearAttention", () => new LinearAttention(hidden_size: Width, num_heads: Heads), (f, x) => f.LinearAttention(x)),
        ("DeltaNet", () => new DeltaNet(hidden_size: Width, num_heads: Heads), (f, x) => f.DeltaNet(x)),
        ("GatedDeltaNet", () => new GatedDeltaNet(hidden_size: Width, num_heads: Heads, head_dim: 16), (f, x) => f.GatedDeltaNet(x)),
        ("GatedDeltaNet2", () => new GatedDeltaNet2(hidden_size: Width, num_heads: Heads, head_dim: 16), (f, x) => f.GatedDeltaNet2(x)),
        ("KimiDeltaAttention", () => new KimiDeltaAttention(hidden_size: Width, num_heads: Heads, head_dim: 16), (f, x) => f.KimiDeltaAttention(x)),
        ("Comba", () => new Comba(hidden_size: Width, num_heads: Heads, head_dim: 16), (f, x) => f.Comba(x)),
        ("GatedDeltaProduct", () => new GatedDeltaProduct(hidden_size: Width, num_heads: Heads, head_dim: 16), (f, x) => f.GatedDeltaProduct(x)),
        ("Rwkv7Attention", () => new Rwkv7Attention(hidden_size: Width, head_dim: 16, layer_idx: 0), (f, x) => f.Rwkv7Attention(x)),
        ("Attention", () => new Attention(hidden_size: Width, num_heads: Heads), (f, x) => f.Attention(x)),
        ("Rwkv7FeedForward", () => new Rwkv7FeedForward(Width, 40), (f, x) => f.Rwkv7FeedForward(x)),
        ("GatedMlp", () => new GatedMlp(Width, 40), (f, x) => f.GatedMlp(x)),
        ("RmsNorm", () => new RmsNorm(Width), (f, x) => f.RmsNorm(x)),
        ("LayerNorm", () => new LayerNorm(Width), (f, x) => f.LayerNorm(x)),
        ("GroupNorm", () => new GroupNorm(Heads, Width), (f, x) => f.GroupNorm(x)),
        ("HadamardFeatureMap", () => new HadamardFeatureMap(Width), (f, x) => f.HadamardFeatureMap(x)),
        ("HedgehogFeatureMap", () => new HedgehogFeatureMap(Width), (f, x) => f.HedgehogFeatureMap(x)),
        ("T2RFeatureMap", () => new T2RFeatureMap(Width), (f, x) => f.T2RFeatureMap(x)),
        ("DpfpFeatureMap", () => new DpfpFeatureMap(Width), (_, x) => Formulas.Dpfp(x, 4)),
        ("ShortConvolution", () => new ShortConvolution(Width, 4), (f, x) => f.ShortConvolution(x)),
    ];

    private static IEnumerable<TestCaseData> Cases => All.Select(c => new TestCaseData(c.Create, c.Formula).SetArgDisplayNames(c.Name));

    [TestCaseSource(nameof(Cases))]
    public void FollowsItsFormulaForwardAndBackward(Func<nn.Module<Tensor, Tensor>> create, Func<LayerFormulas, Tensor, Tensor> formula)
    {
        using var layer = create();
        Spread(layer);
        var parameters = layer.state_dict().ToDictionary(p => p.Key, p => Double(p.Value));
        // More than 64 tokens: the chunked form.
        var x = Leaf(2, 70, Width);
        var xd = Double(x);
        AssertSame([layer.forward(x)], [formula(new(parameters, Heads), xd)],
            [("x", x, xd), .. layer.named_parameters().Select(p => (p.name, (Tensor)p.parameter, parameters[p.name]))], 2e-4);
    }

    [Test]
    public void EveryModuleHasACase()
    {
        var without = typeof(GatedLinearAttention).Assembly.GetExportedTypes().Where(t => t.Namespace == typeof(GatedLinearAttention).Namespace).Select(t => t.Name)
            .Except(All.Select(c => c.Name).Append(nameof(FusedRmsNormGated)));
        Assert.That(without, Is.Empty);
    }

    [Test]
    public void AModuleOfTwoTensorsTakesBoth()
    {
        using var layer = new FusedRmsNormGated(Width);
        var (x, g) = (Leaf(2, 5, Width), Leaf(2, 5, Width));
        var (xd, gd, weight) = (Double(x), Double(g), Double(layer.get_parameter("weight")!));
        AssertSame([layer.call(x, g)], [Formulas.Rms(xd) * weight * nn.functional.silu(gd)],
            [("x", x, xd), ("g", g, gd), ("weight", layer.get_parameter("weight")!, weight)]);
    }

    [Test]
    public void KeysAndShapesAreFlas()
    {
        using var layer = new GatedLinearAttention(hidden_size: Width, num_heads: Heads, use_short_conv: true);
        string[] keys = ["q_proj.weight", "k_proj.weight", "v_proj.weight", "g_proj.weight", "q_conv1d.weight", "k_conv1d.weight", "v_conv1d.weight", "gk_proj.0.weight",
            "gk_proj.1.weight", "gk_proj.1.bias", "g_norm_swish_gate.weight", "o_proj.weight"];
        Assert.That(layer.state_dict().Keys, Is.EquivalentTo(keys));
        Assert.That(layer.named_parameters().Select(p => p.name), Is.EquivalentTo(keys));
        Assert.That(layer.state_dict()["q_conv1d.weight"].shape, Is.EqualTo(new long[] { Width / 2, 1, 4 }));
    }

    [Test]
    public void SharedParametersHaveBothNames()
    {
        using var layer = new LinearAttention(hidden_size: Width, num_heads: Heads, tie_feature_map_qk: true);
        using var outer = new Outer(layer);
        Assert.That(outer.state_dict().Keys, Does.Contain("attn.feature_map_q.layer1.weight").And.Contain("attn.feature_map_k.layer1.weight"));
        Assert.That(layer.parameters().Count(), Is.EqualTo(layer.state_dict().Count - 4));
        layer.to(ScalarType.BFloat16);
        using var other = new LinearAttention(hidden_size: Width, num_heads: Heads, tie_feature_map_qk: true, dtype: ScalarType.BFloat16);
        other.load_state_dict(layer.state_dict());
        var x = torch.randn(1, 4, Width).to(ScalarType.BFloat16);
        AssertClose(other.forward(x), layer.forward(x), 1e-6, "o");
    }

    [Test]
    public void PaddingAndPackingAreHonoured()
    {
        using var layer = new GatedLinearAttention(hidden_size: Width, num_heads: Heads);
        Spread(layer);
        var x = torch.randn(2, 9, Width);
        var mask = torch.ones([2, 9], dtype: ScalarType.Int64);
        mask.narrow(0, 0, 1).narrow(1, 0, 4).zero_();
        var masked = layer.forward(x, attention_mask: mask);
        AssertClose(masked[0].narrow(0, 4, 5), layer.forward(x.narrow(0, 0, 1).narrow(1, 4, 5))[0], 1e-5, "after padding");
        AssertClose(masked[1], layer.forward(x)[1], 1e-5, "without padding");
        var packed = layer.forward(x.reshape(1, 18, Width), cu_seqlens: torch.tensor(new int[] { 0, 9, 18 }));
        AssertClose(packed.reshape(2, 9, Width), layer.forward(x), 1e-5, "packed");
    }

    [Test]
    public void AnEmptyBatchGivesEmptyResultsAndZeroGradients()
    {
        using var layer = new GatedLinearAttention(hidden_size: Width, num_heads: Heads);
        var y = layer.forward(torch.zeros(0, 7, Width));
        Assert.That(y.shape, Is.EqualTo(new long[] { 0, 7, Width }));
        y.sum().backward();
        Assert.That(layer.parameters().Max(p => p.grad!.abs().max().item<float>()), Is.Zero);
    }

    /// <summary>Larger weights than fresh ones, so that no part of a layer is lost in rounding.</summary>
    private static void Spread(nn.Module module)
    {
        using var grad = torch.no_grad();
        foreach (var parameter in module.parameters()) parameter.add_(torch.randn_like(parameter), 0.2);
    }

    private sealed class Outer : nn.Module
    {
        public Outer(nn.Module layer)
            : base("outer") => register_module("attn", layer);
    }
}
