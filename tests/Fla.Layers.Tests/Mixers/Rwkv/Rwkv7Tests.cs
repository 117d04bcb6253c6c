using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan;
using NUnit.Framework;

namespace Fla.Layers.Tests;

public sealed class Rwkv7Tests(TestDevice device) : DeviceTests(device)
{
    private const int Hidden = 32;
    private const int Length = 9;

    [Test]
    public void LayersAboveTheFirstNeedItsValues()
    {
        using var layer = Attention(1, 3);
        using var noGrad = Autograd.NoGrad();
        var x = Input(1, 2, Length);
        Assert.That(() => layer.Forward(x), Throws.ArgumentNullException);
        Assert.That(() => layer.Forward(x, Input(2, 2, Length + 1)), Throws.TypeOf<ShapeException>());
        var values = Input(2, 2, Length);
        var (o, first) = layer.Forward(x, values);
        Assert.That(first.ToSingle(), Is.EqualTo(values.ToSingle()));
        var (other, _) = layer.Forward(x, Input(3, 2, Length));
        Assert.That(ErrorRatio.Of(other.ToSingle(), o.ToSingle()), Is.GreaterThan(1e-2));
    }

    [Test]
    public void FreshWeightsFollowDepthAndChannel()
    {
        using var first = Attention(0, 3);
        using var last = Attention(2, 3);
        var (a, b) = (State(first), State(last));
        Assert.That(a.ContainsKey("v_lora.lora.0.weight"), Is.False);
        Assert.That(a["x_r"][8], Is.EqualTo(1 - Math.Pow(0.25, 0.2)).Within(1e-6));
        Assert.That(b["x_k"][8], Is.EqualTo(1 - Math.Pow(0.25, 0.7 / 3)).Within(1e-6));
        Assert.That(a["w_lora.lora.2.bias"][0], Is.EqualTo(-5.5 - 2.5).Within(1e-5));
        Assert.That(a["w_lora.lora.2.bias"][^1], Is.EqualTo(-5.5 + 6 + 2.5).Within(1e-5));
        Assert.That(b["v_lora.lora.2.bias"][0], Is.EqualTo(0.93).Within(1e-6));
        Assert.That(a["k_k"][^1], Is.EqualTo(0.66).Within(1e-6));
        Assert.That(b["g_norm.weight"], Is.All.EqualTo(1));
        Assert.That(a["g_norm.weight"], Is.All.EqualTo((float)Math.Pow(1 / 3.0, 0.7)));
        Assert.That(a["o_proj.weight"].Select(Math.Abs).Max(), Is.InRange(0.9 / Math.Sqrt(Hidden * 6), 1.0001 / Math.Sqrt(Hidden * 6)));
    }

    [Test]
    public void TheChannelMixingSeesTheTokenBefore()
    {
        using var layer = FeedForward();
        using var noGrad = Autograd.NoGrad();
        var x = Input(1, 2, Length);
        var whole = layer.Forward(x, MixerContext.Empty).ToSingle();
        using var cache = new LayerCache();
        var head = layer.Forward(Part(x, 0, 4), new() { Cache = cache }).ToSingle();
        var tail = layer.Forward(Part(x, 4, 5), new() { Cache = cache }).ToSingle();
        ErrorRatio.AssertClose(head, Values(whole, 0, 4), 1e-6, "head");
        ErrorRatio.AssertClose(tail, Values(whole, 4, 5), 1e-6, "tail");
    }

    private static Dictionary<string, float[]> State(Module module) => module.StateDict().ToDictionary(p => p.Key, p => p.Value.ToSingle());

    private static float[] Values(float[] x, int start, int length) =>
        [.. Enumerable.Range(0, 2).SelectMany(row => x.Skip(((row * Length) + start) * Hidden).Take(length * Hidden))];

    private Rwkv7Attention Attention(int index, int layers)
    {
        var layer = new Rwkv7Attention(Device, new() { HiddenSize = Hidden, HeadDim = 16, LayerIdx = index, NumHiddenLayers = layers });
        layer.Initialize(new Initializer(1));
        return layer;
    }

    private Rwkv7FeedForward FeedForward()
    {
        var layer = new Rwkv7FeedForward(Device, Hidden, 48);
        layer.Initialize(new Initializer(1));
        var state = layer.StateDict().ToDictionary(p => p.Key, p => p.Value);
        Assert.That(state["value.weight"].ToSingle(), Is.All.Zero);
        new Initializer(2, 0.3).Normal(state["value.weight"], "value.weight");
        return layer;
    }

    private Tensor Input(int seed, int rows, int length) => Make(Inputs.Normal(seed, rows, length, Hidden).ToFloats(), [rows, length, Hidden]);

    private Tensor Part(Tensor x, int start, int length) => Make(Values(x.ToSingle(), start, length), [2, length, Hidden]);
}
