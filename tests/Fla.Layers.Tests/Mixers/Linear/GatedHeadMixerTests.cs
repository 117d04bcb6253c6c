using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan;
using NUnit.Framework;

namespace Fla.Layers.Tests;

/// <summary>Options of the gated mixers against one another: equal where they only rename, different where they compute.</summary>
public sealed class GatedHeadMixerTests(TestDevice device) : DeviceTests(device)
{
    private static readonly GatedLinearAttentionOptions Options = new() { HiddenSize = 32, NumHeads = 2 };

    [Test]
    public void NamesFollowTheOptions()
    {
        string[] common = ["q_proj.weight", "k_proj.weight", "v_proj.weight"];
        string[] gate = ["gk_proj.0.weight", "gk_proj.1.weight", "gk_proj.1.bias", "o_proj.weight"];
        Assert.That(Names(Options), Is.EqualTo((string[])[.. common, "g_proj.weight", .. gate, "g_norm_swish_gate.weight"]));
        Assert.That(Names(Options with { FuseNorm = false }), Is.EqualTo((string[])[.. common, "g_proj.weight", .. gate, "g_norm.weight"]));
        Assert.That(Names(Options with { UseOutputGate = false }), Is.EqualTo((string[])[.. common, .. gate, "g_norm.weight"]));
        Assert.That(Names(Options with { ElementwiseAffine = false }), Is.EqualTo((string[])[.. common, "g_proj.weight", .. gate]));
        Assert.That(Names(Options with { UseShortConv = true }), Is.EqualTo((string[])
            [.. common, "g_proj.weight", "q_conv1d.weight", "k_conv1d.weight", "v_conv1d.weight", .. gate, "g_norm_swish_gate.weight"]));
    }

    [Test]
    public void FusedAndSeparateNormsAgree()
    {
        using var fused = Build(Options);
        using var separate = Build(Options with { FuseNorm = false });
        Copy(fused, separate);
        ErrorRatio.AssertClose(Output(separate), Output(fused), 1e-5, "o");
    }

    [Test]
    public void SharedKeyHeadsAreRepeatedOnesSideBySide()
    {
        using var shared = Build(Options with { NumKvHeads = 1 });
        using var full = Build(Options);
        var from = shared.StateDict().ToDictionary(p => p.Key, p => p.Value);
        foreach (var (name, target) in full.StateDict())
        {
            var values = from[name].ToSingle();
            target.Write(values.Length == target.Count ? values : [.. values, .. values]);
        }
        ErrorRatio.AssertClose(Output(shared), Output(full), 1e-5, "o");
    }

    [Test]
    public void ClampedGatesForgetLess()
    {
        using var free = Build(Options);
        using var clamped = Build(Options with { ClampMin = -1e-3 });
        using var loose = Build(Options with { ClampMin = -100 });
        Copy(free, clamped);
        Copy(free, loose);
        // Gates with a bound are made before the recurrence, those without inside of it: the same but for the order of a sum.
        ErrorRatio.AssertClose(Output(loose), Output(free), 1e-6, "o");
        Assert.That(ErrorRatio.Of(Output(clamped), Output(free)), Is.GreaterThan(1e-2));
    }

    private static void Copy(TokenMixer from, TokenMixer to)
    {
        foreach (var (source, target) in from.Parameters().Zip(to.Parameters())) target.CopyFrom(source);
    }

    private string[] Names(GatedLinearAttentionOptions options)
    {
        using var layer = new GatedLinearAttention(Device, options);
        return [.. layer.StateDict().Select(entry => entry.Key)];
    }

    private GatedLinearAttention Build(GatedLinearAttentionOptions options)
    {
        var layer = new GatedLinearAttention(Device, options);
        layer.Initialize(new Initializer(1, 0.3));
        return layer;
    }

    private float[] Output(TokenMixer layer)
    {
        using var noGrad = Autograd.NoGrad();
        return layer.Forward(Make(Inputs.Normal(1, 2, 20, 32).ToFloats(), [2, 20, 32])).ToSingle();
    }
}
