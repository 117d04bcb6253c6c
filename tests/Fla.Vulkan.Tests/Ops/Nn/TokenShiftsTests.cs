using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class TokenShiftsTests(TestDevice device) : NnTests(device)
{
    // A token shift is a convolution with the taps (1, -1), whose state's last column is the cache.
    [Test]
    public void EqualsAConvolution([Values] bool hasCache, [ValueSource(nameof(FloatTypes))] DType type, [Values] bool isPacked)
    {
        const int channels = 6;
        int[] boundaries = [0, 0, 1, 5, 14];
        var (batch, length, n) = isPacked ? (1, 14, 4) : (3, 5, 3);
        RefTensor x = Normal(1, type, batch, length, channels), cache = Normal(2, type, n, channels), dy = Normal(3, type, batch, length, channels), dlast = Normal(4, type, n, channels);
        RefTensor State(RefTensor last) => new(last.Data.SelectMany(v => new[] { 0, v }).ToArray(), n, channels, 2);
        var taps = new RefTensor(Enumerable.Range(0, 2 * channels).Select(i => i % 2 == 0 ? 1.0 : -1.0).ToArray(), channels, 2);
        var expected = Reference.ShortConvolution(x, taps, activation: null, initialState: hasCache ? State(cache) : null, cuSeqlens: isPacked ? boundaries : null, doutput: dy, dfinal: State(dlast));
        float[] LastColumn(RefTensor state) => state.Data.Where((_, i) => i % 2 == 1).Select(v => (float)v).ToArray();

        using var cuSeqlens = isPacked ? new CuSeqlens(Device, boundaries) : null;
        Tensor leaf = Leaf(x, type);
        var before = hasCache ? Leaf(cache, type) : null;
        var (delta, last) = TokenShifts.TokenShift(leaf, cuSeqlens, before, outputCache: true);
        ErrorRatio.AssertClose(last!.ToSingle(), LastColumn(expected.FinalState), 1e-6, "cache");
        ErrorRatio.AssertClose(delta.ToSingle(), expected.O.ToFloats(), Tolerance(type), "delta");
        Autograd.Backward([delta, last], [Constant(dy, type), Constant(dlast, type)]);
        ErrorRatio.AssertClose(leaf.Grad!.ToSingle(), expected.Grad("x").ToFloats(), GradientTolerance(type), "gradient of x");
        if (before != null) ErrorRatio.AssertClose(before.Grad!.ToSingle(), LastColumn(expected.Grad("h0")), GradientTolerance(type), "gradient of the cache");
    }

    [Test]
    public void WrongUseIsATypedError()
    {
        var x = Make(new float[12], [2, 3, 2]);
        using var cuSeqlens = new CuSeqlens(Device, 0, 3);
        Assert.That(() => TokenShifts.TokenShift(x, cuSeqlens), Throws.TypeOf<ShapeException>());
        Assert.That(() => TokenShifts.TokenShift(x, cache: Make(new float[2], [1, 2])), Throws.TypeOf<ShapeException>());
        Assert.That(() => TokenShifts.TokenShift(x.View(6, 2)), Throws.TypeOf<ShapeException>());
    }
}
