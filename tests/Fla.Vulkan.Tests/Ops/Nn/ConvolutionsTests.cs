using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class ConvolutionsTests(TestDevice device) : NnTests(device)
{
    [Test]
    public void EveryPartAndItsGradient([Values] ConvActivation activation, [Values] bool hasOptions, [Values(2, 11)] int length, [ValueSource(nameof(FloatTypes))] DType type)
    {
        const int batch = 2, channels = 5, taps = 4;
        RefTensor x = Normal(1, type, batch, length, channels), w = Normal(2, type, channels, 1, taps), dy = Normal(3, type, batch, length, channels);
        RefTensor? b = hasOptions ? Normal(4, type, channels) : null, r = hasOptions ? Normal(5, type, batch, length, channels) : null;
        RefTensor? h0 = hasOptions ? Normal(6, type, batch, channels, taps) : null, dht = Normal(7, type, batch, channels, taps);
        var name = activation == ConvActivation.Silu ? "silu" : null;
        Tensor leaf = Leaf(x, type), weight = Leaf(w, type);
        Tensor? bias = OptionalLeaf(b, type), residual = OptionalLeaf(r, type), initial = OptionalLeaf(h0, type);
        var (y, final) = Convolutions.ShortConvolution(leaf, weight, bias, residual, null, activation, initial, outputFinalState: true);
        Check(Reference.ShortConvolution(x, w, b, r, name, h0, null, dy, dht), type, [("o", y, dy), ("ht", final!, dht)],
            ("x", leaf), ("weight", weight), ("bias", bias), ("residual", residual), ("h0", initial));
    }

    [Test]
    public void PackedSequencesDoNotLeak([Values(1, 3)] int taps)
    {
        const int channels = 3;
        foreach (var boundaries in Inputs.PackedBoundaries)
        {
            int n = boundaries.Length - 1, length = boundaries[^1];
            RefTensor x = Inputs.Normal(8, 1, length, channels), w = Inputs.Normal(9, channels, taps), b = Inputs.Normal(10, channels), h0 = Inputs.Normal(11, n, channels, taps);
            RefTensor dy = Inputs.Normal(12, 1, length, channels), dht = Inputs.Normal(13, n, channels, taps);
            Tensor leaf = Leaf(x, DType.Float32), weight = Leaf(w, DType.Float32), bias = Leaf(b, DType.Float32), initial = Leaf(h0, DType.Float32);
            using var cuSeqlens = new CuSeqlens(Device, boundaries);
            var (y, final) = Convolutions.ShortConvolution(leaf, weight, bias, initialState: initial, outputFinalState: true, cuSeqlens: cuSeqlens);
            Check(Reference.ShortConvolution(x, w, b, null, "silu", h0, boundaries, dy, dht), DType.Float32, [("o", y, dy), ("ht", final!, dht)],
                ("x", leaf), ("weight", weight), ("bias", bias), ("h0", initial));
        }
    }

    [Test]
    public void StepsEqualTheWhole([ValueSource(nameof(FloatTypes))] DType type)
    {
        const int batch = 2, length = 7, channels = 6, taps = 4;
        RefTensor x = Normal(14, type, batch, length, channels), w = Normal(15, type, channels, taps), b = Normal(16, type, channels), r = Normal(17, type, batch, length, channels);
        Tensor all = Constant(x, type), weight = Constant(w, type), bias = Constant(b, type), residual = Constant(r, type);
        var (y, final) = Convolutions.ShortConvolution(all, weight, bias, residual, outputFinalState: true);
        var state = Tensor.Zeros(Device, type, batch, channels, taps);
        for (var t = 0; t < length; t++)
        {
            var o = Convolutions.ShortConvolutionStep(Layouts.Slice(all, 1, t, 1), state, weight, bias, Layouts.Slice(residual, 1, t, 1));
            ErrorRatio.AssertClose(o.ToSingle(), Layouts.Slice(y, 1, t, 1).ToSingle(), 1e-5, $"token {t}");
        }
        Assert.That(state.ToSingle(), Is.EqualTo(final!.ToSingle()));
    }

    [Test]
    public void TheMaskZeroesInputs()
    {
        RefTensor x = Inputs.Normal(18, 2, 5, 3), w = Inputs.Normal(19, 3, 4), dy = Inputs.Normal(20, 2, 5, 3);
        float[] mask = [0, 0, 1, 1, 1, 1, 1, 1, 1, 1];
        RefTensor Masked(RefTensor t) => new(t.Data.Select((v, i) => v * mask[i / 3]).ToArray(), t.Shape);
        Tensor leaf = Leaf(x, DType.Float32), weight = Leaf(w, DType.Float32);
        var (y, _) = Convolutions.ShortConvolution(leaf, weight, mask: Make(mask, [2, 5]));
        var expected = Reference.ShortConvolution(Masked(x), w, doutput: dy);
        Check(expected, DType.Float32, y, dy, ("weight", weight));
        ErrorRatio.AssertClose(leaf.Grad!.ToSingle(), Masked(expected.Grad("x")).ToFloats(), 1e-5, "gradient of x");
    }

    [Test]
    public void ManyTokensAndAStateOfAnotherType()
    {
        RefTensor x = Normal(21, DType.BFloat16, 1, 900, 40), w = Inputs.Normal(22, 40, 4), h0 = Inputs.Normal(23, 1, 40, 4), dy = Normal(24, DType.BFloat16, 1, 900, 40);
        Tensor leaf = Leaf(x, DType.BFloat16), weight = Leaf(w, DType.Float32), initial = Leaf(h0, DType.Float32);
        var (y, final) = Convolutions.ShortConvolution(leaf, weight, initialState: initial, outputFinalState: true);
        Assert.That(final!.DType, Is.EqualTo(DType.Float32));
        Check(Reference.ShortConvolution(x, w, initialState: h0, doutput: dy), DType.BFloat16, y, dy, ("x", leaf), ("weight", weight), ("h0", initial));
    }

    [Test]
    public void WrongUseIsATypedError()
    {
        Tensor x = Make(new float[12], [1, 4, 3]), weight = Make(new float[12], [3, 4]);
        using var cuSeqlens = new CuSeqlens(Device, 0, 4);
        Assert.Multiple(() =>
        {
            Assert.That(() => Convolutions.ShortConvolution(x, Make(new float[8], [2, 4])), Throws.TypeOf<ShapeException>());
            Assert.That(() => Convolutions.ShortConvolution(x, Make(new float[51], [3, 17])), Throws.TypeOf<ShapeException>());
            Assert.That(() => Convolutions.ShortConvolution(x, weight, Make([1], [1])), Throws.TypeOf<ShapeException>());
            Assert.That(() => Convolutions.ShortConvolution(x, weight, initialState: Make(new float[9], [1, 3, 3])), Throws.TypeOf<ShapeException>());
            Assert.That(() => Convolutions.ShortConvolution(x, weight, mask: Make(new float[4], [1, 4]), cuSeqlens: cuSeqlens), Throws.TypeOf<ShapeException>());
            Assert.That(() => Convolutions.ShortConvolution(x, weight, residual: Make(new float[12], [1, 4, 3], DType.Float16)), Throws.TypeOf<DTypeException>());
            Assert.That(() => Convolutions.ShortConvolutionStep(x, Make(new float[12], [1, 3, 4]), weight), Throws.TypeOf<ShapeException>());
        });
    }
}
