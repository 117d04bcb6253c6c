using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class TokenShiftsTests(TestDevice device) : NnTests(device)
{
    /// <summary>δ_t = x_{t−1} − x_t and its gradients, written down directly.</summary>
    private void Check(DType type, int batch, int tokens, int width, int[]? packed, bool hasCache, bool outputsCache)
    {
        var bounds = packed ?? Enumerable.Range(0, batch + 1).Select(n => n * tokens).ToArray();
        var sequences = bounds.Length - 1;
        RefTensor x = Normal(1, type, batch, tokens, width), cache = Normal(2, type, sequences, width), dy = Normal(3, type, x.Shape), dlast = Normal(4, type, sequences, width);
        RefTensor y = RefTensor.Zeros(x.Shape), last = RefTensor.Zeros(sequences, width), dx = RefTensor.Zeros(x.Shape), dcache = RefTensor.Zeros(sequences, width);
        for (var n = 0; n < sequences; n++)
        {
            for (var c = 0; c < width; c++)
            {
                var before = hasCache ? cache.Data[(n * width) + c] : 0;
                for (var t = bounds[n]; t < bounds[n + 1]; t++)
                {
                    var i = (t * width) + c;
                    y.Data[i] = before - x.Data[i];
                    before = x.Data[i];
                    dx.Data[i] -= dy.Data[i];
                    if (t > bounds[n]) dx.Data[i - width] += dy.Data[i];
                    else dcache.Data[(n * width) + c] += dy.Data[i];
                }
                last.Data[(n * width) + c] = before;
                if (!outputsCache) continue;
                if (bounds[n] == bounds[n + 1]) dcache.Data[(n * width) + c] += dlast.Data[(n * width) + c];
                else dx.Data[((bounds[n + 1] - 1) * width) + c] += dlast.Data[(n * width) + c];
            }
        }

        using var cu = packed is null ? null : new CuSeqlens(Device, packed);
        Tensor input = Leaf(x, type);
        var before0 = hasCache ? Leaf(cache, type) : null;
        var (delta, after) = TokenShifts.TokenShift(input, cu, before0, outputsCache);
        ErrorRatio.AssertClose(delta.ToSingle(), y.ToFloats(), Tolerance(type), "delta");
        if (outputsCache) Assert.That(after!.ToSingle(), Is.EqualTo(last.ToFloats()));
        else Assert.That(after, Is.Null);
        if (outputsCache) Autograd.Backward([delta, after!], [Constant(dy, type), Constant(dlast, type)]);
        else Autograd.Backward(delta, Constant(dy, type));
        ErrorRatio.AssertClose(input.Grad!.ToSingle(), dx.ToFloats(), GradientTolerance(type), "grad.x");
        if (hasCache) ErrorRatio.AssertClose(before0!.Grad!.ToSingle(), dcache.ToFloats(), GradientTolerance(type), "grad.cache");
    }

    [Test]
    public void IsTheDifferenceToTheTokenBefore([ValueSource(nameof(FloatTypes))] DType type, [Values] bool hasCache, [Values] bool outputsCache) =>
        Check(type, 3, 7, type == DType.Float32 ? 13 : 12, null, hasCache, outputsCache);

    [Test]
    public void PackedSequencesDoNotMix([Values] bool hasCache, [Values] bool outputsCache)
    {
        foreach (var packed in Inputs.PackedBoundaries) Check(DType.Float32, 1, packed[^1], 8, packed, hasCache, outputsCache);
        Check(DType.Float32, 1, 6, 5, [0, 0, 1, 1, 5, 6, 6], hasCache, outputsCache);
    }

    [Test]
    public void OneTokenStepsCarryTheCache()
    {
        RefTensor x = Inputs.Normal(1, 2, 3, 6);
        var whole = TokenShifts.TokenShift(Constant(x, DType.Float32)).Delta.ToSingle();
        var cache = Tensor.Zeros(Device, DType.Float32, 2, 6);
        for (var t = 0; t < 3; t++)
        {
            var now = Make(Enumerable.Range(0, 12).Select(i => (float)x.Data[((((i / 6) * 3) + t) * 6) + (i % 6)]).ToArray(), [2, 1, 6]);
            var (delta, next) = TokenShifts.TokenShift(now, cache: cache, outputCache: true);
            var values = delta.ToSingle();
            for (var i = 0; i < 12; i++) Assert.That(values[i], Is.EqualTo(whole[((((i / 6) * 3) + t) * 6) + (i % 6)]));
            cache = next!;
        }
    }

    [Test]
    public void NoTokensPassTheCacheOn()
    {
        RefTensor cache = Inputs.Normal(1, 2, 6);
        var (delta, last) = TokenShifts.TokenShift(Tensor.Empty(Device, DType.Float32, 2, 0, 6), cache: Constant(cache, DType.Float32), outputCache: true);
        Assert.That(delta.Count, Is.Zero);
        Assert.That(last!.ToSingle(), Is.EqualTo(cache.ToFloats()));
    }

    [Test]
    public void WrongArgumentsAreTypedErrors()
    {
        var x = Tensor.Zeros(Device, DType.Float32, 2, 3, 4);
        using var cu = new CuSeqlens(Device, 0, 6);
        Assert.That(() => TokenShifts.TokenShift(x.View(6, 4)), Throws.TypeOf<ShapeException>());
        Assert.That(() => TokenShifts.TokenShift(x, cu), Throws.TypeOf<ShapeException>());
        Assert.That(() => TokenShifts.TokenShift(x, cache: Tensor.Zeros(Device, DType.Float32, 2, 3)), Throws.TypeOf<ShapeException>());
        Assert.That(() => TokenShifts.TokenShift(x, cache: Tensor.Zeros(Device, DType.Int32, 2, 4)), Throws.TypeOf<DTypeException>());
    }
}
