using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using Fla.Vulkan.Tests.Ops.Nn;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Rwkv;

public sealed class Rwkv7OpsTests(TestDevice device) : NnTests(device)
{
    [Test]
    public void FusedAddcmulIsItsFormula([ValueSource(nameof(FloatTypes))] DType type, [Values(5, 6)] int count, [Values(33, 64)] int width)
    {
        RefTensor x = Normal(1, type, 2, 13, width), delta = Normal(2, type, 2, 13, width);
        RefTensor[] mixes = [.. Enumerable.Range(0, count).Select(i => Normal(3 + i, DType.Float32, 1, 1, width))];
        RefTensor?[] gradients = [.. Enumerable.Range(0, count).Select(i => i == 2 ? null : Normal(10 + i, type, 2, 13, width))];
        Tensor a = Leaf(x, type), d = Leaf(delta, type);
        Tensor[] m = [.. mixes.Select(mix => Leaf(mix, DType.Float32))];
        var streams = Rwkv7Ops.FusedAddcmul(a, d, m[0], m[1], m[2], m[3], m[4], count == 6 ? m[5] : null);
        Check(Reference.Addcmul(x, delta, mixes, gradients), type, [.. streams.Select((o, i) => ($"o{i}", o, gradients[i]))],
            [("x", a), ("delta", d), .. m.Select((mix, i) => ($"m{i}", (Tensor?)mix))]);
    }

    [Test]
    public void FusedKIsItsFormula([ValueSource(nameof(FloatTypes))] DType type, [Values(false, true)] bool hasHeads)
    {
        int[] shape = hasHeads ? [2, 13, 2, 16] : [2, 13, 33], factors = hasHeads ? [32] : [1, 1, 33];
        RefTensor k = Normal(1, type, shape), a = Normal(2, type, shape), ka = Normal(3, type, factors), gradient = Normal(4, type, shape);
        Tensor key = Leaf(k, type), rate = Leaf(a, type), factor = Leaf(ka, type);
        Check(Reference.KeyUpdate(k, a, ka, gradient), type, Rwkv7Ops.FusedK(key, rate, factor), gradient, ("k", key), ("a", rate), ("ka", factor));
    }

    [TestCase(DType.Float32, 64, 24)]
    [TestCase(DType.Float16, 30, 70)]
    [TestCase(DType.BFloat16, 64, 64)]
    public void GateOutputCorrectionIsItsFormula(DType type, int keyDim, int valueDim)
    {
        const int B = 2, T = 7, H = 3;
        RefTensor o = Normal(1, type, B, T, H * valueDim), r = Normal(2, type, B, T, H, keyDim), k = Normal(3, type, B, T, H, keyDim), rk = Normal(4, DType.Float32, H, keyDim);
        RefTensor v = Normal(5, type, B, T, H, valueDim), g = Normal(6, type, B, T, H * valueDim), gradient = Normal(7, type, B, T, H * valueDim);
        Tensor input = Leaf(o, type), query = Leaf(r, type), key = Leaf(k, type), weight = Leaf(rk, DType.Float32), value = Leaf(v, type), gate = Leaf(g, type);
        Check(Reference.GateOutputCorrection(o, r, k, rk, v, g, gradient), type, Rwkv7Ops.GateOutputCorrection(input, query, key, weight, value, gate), gradient,
            ("o", input), ("r", query), ("k", key), ("rk", weight), ("v", value), ("g", gate));
    }

    [Test]
    public void ChannelMixingIsItsFormula([Values(DType.Float32, DType.Float16)] DType type)
    {
        RefTensor x = Normal(1, type, 2, 5, 16), before = Normal(2, type, 2, 16), mix = Normal(3, type, 16), gradient = Normal(6, type, 2, 5, 16);
        RefTensor wk = Round(Normal(4, DType.Float32, 16, 40).Map(w => w / 4), type), wv = Round(Normal(5, DType.Float32, 40, 16).Map(w => w / 6), type);
        Tensor input = Leaf(x, type), state = Leaf(before, type), factor = Leaf(mix, type), keys = Leaf(wk, type), values = Leaf(wv, type);
        var (y, last) = Rwkv7Ops.ChannelMixing(input, state, factor, keys, values);
        Check(Reference.ChannelMixing(x, before, mix, wk, wv, gradient), type, y, gradient,
            ("x", input), ("xPrev", state), ("xk", factor), ("kWeight", keys), ("vWeight", values));
        float[] all = x.ToFloats();
        Assert.That(last.ToSingle(), Is.EqualTo((float[])[.. all[64..80], .. all[144..160]]));
    }

    [Test]
    public void WrongArgumentsAreNamed()
    {
        Tensor x = Tensor.Zeros(Device, DType.Float32, 1, 4, 6), m = Tensor.Zeros(Device, DType.Float32, 6), heads = Tensor.Zeros(Device, DType.Float32, 1, 4, 2, 3);
        var rk = Tensor.Zeros(Device, DType.Float32, 2, 3);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(() => Rwkv7Ops.FusedAddcmul(x, m, m, m, m, m, m), Throws.TypeOf<ShapeException>().With.Message.Contains("delta"));
            Assert.That(() => Rwkv7Ops.FusedAddcmul(x, x, m, m, m.To(DType.Float16), m, m), Throws.TypeOf<DTypeException>().With.Message.Contains("xk"));
            Assert.That(() => Rwkv7Ops.FusedAddcmul(x, x, m, m, m, m, x), Throws.TypeOf<ShapeException>().With.Message.Contains("xa"));
            Assert.That(() => Rwkv7Ops.FusedK(x, x.To(DType.Float16), m), Throws.TypeOf<DTypeException>().With.Message.Contains("a needs"));
            Assert.That(() => Rwkv7Ops.FusedK(x, x, x), Throws.TypeOf<ShapeException>().With.Message.Contains("ka"));
            Assert.That(() => Rwkv7Ops.GateOutputCorrection(x, heads, heads, rk, heads, m), Throws.TypeOf<ShapeException>().With.Message.Contains("g needs"));
            Assert.That(() => Rwkv7Ops.GateOutputCorrection(x, heads, heads, m, heads, x), Throws.TypeOf<ShapeException>().With.Message.Contains("rk needs"));
        }
    }
}
