using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class ReductionsTests(TestDevice device) : NnTests(device)
{
    [Test]
    public void SumsAndTheirGradients([ValueSource(nameof(FloatTypes))] DType type, [Values(1, 5, 300)] int rows, [Values(1, 3, 64, 1000)] int width)
    {
        var x = Round(Inputs.Uniform(1, 0, 1, rows, width), type);
        double[] byRow = new double[rows], byColumn = new double[width];
        for (var i = 0; i < x.Length; i++)
        {
            byRow[i / width] += x.Data[i];
            byColumn[i % width] += x.Data[i];
        }
        var leaf = Leaf(x, type);
        Tensor all = Reductions.Sum(leaf), last = Reductions.SumLast(leaf), first = Reductions.SumRows(leaf), mean = Reductions.Mean(leaf);
        Assert.That(all.Rank, Is.Zero);
        ErrorRatio.AssertClose(all.ToSingle(), [(float)x.Data.Sum()], 1e-5, "sum");
        ErrorRatio.AssertClose(mean.ToSingle(), [(float)x.Data.Average()], 1e-5, "mean");
        ErrorRatio.AssertClose(last.ToSingle(), new RefTensor(byRow, rows).ToFloats(), 1e-5, "sum over the last axis");
        ErrorRatio.AssertClose(first.ToSingle(), new RefTensor(byColumn, width).ToFloats(), 1e-5, "sum over rows");
        ErrorRatio.AssertClose(Reductions.SumOfSquares(leaf).ToSingle(), [(float)x.Data.Sum(v => v * v)], 1e-5, "sum of squares");
        Assert.That(Reductions.Max(leaf).Item(), Is.EqualTo((float)x.Data.Max()));

        RefTensor dlast = Inputs.Normal(2, rows), dfirst = Inputs.Normal(3, width);
        Autograd.Backward([all, last, first], [null, Constant(dlast, DType.Float32), Constant(dfirst, DType.Float32)]);
        var expected = Enumerable.Range(0, x.Length).Select(i => (float)(1 + dlast.Data[i / width] + dfirst.Data[i % width])).ToArray();
        ErrorRatio.AssertClose(leaf.Grad!.ToSingle(), expected, GradientTolerance(type), "gradient");
    }

    [Test]
    public void NonFiniteElementsAreCounted([ValueSource(nameof(FloatTypes))] DType type)
    {
        var x = new float[10_000];
        Assert.That(Reductions.CountNonFinite(Make(x, [10_000], type)).Item(), Is.Zero);
        (x[3], x[5000], x[9999]) = (float.NaN, float.PositiveInfinity, float.NegativeInfinity);
        Assert.That(Reductions.CountNonFinite(Make(x, [10_000], type)).Item(), Is.EqualTo(3));
    }

    [Test]
    public void ArgMaxTakesTheFirstOfEquals([ValueSource(nameof(FloatTypes))] DType type)
    {
        var random = new Random(4);
        var x = Enumerable.Range(0, 3 * 1001).Select(_ => (float)random.Next(100)).ToArray();
        var expected = Enumerable.Range(0, 3).Select(r => Array.IndexOf(x, x.Skip(r * 1001).Take(1001).Max(), r * 1001) - (r * 1001));
        Assert.That(Reductions.ArgMax(Make(x, [3, 1001], type)).ToInt32(), Is.EqualTo(expected));
        var minusInfinity = Make([float.NegativeInfinity, float.NegativeInfinity, float.NaN, float.NegativeInfinity], [2, 2], type);
        Assert.That(Reductions.ArgMax(minusInfinity).ToInt32(), Is.EqualTo(new[] { 0, 1 }));
        Assert.That(() => Reductions.ArgMax(Tensor.Empty(Device, type, 3, 0)), Throws.TypeOf<ShapeException>());
    }

    [Test]
    public void ResultsRepeatBitByBit()
    {
        var x = Constant(Inputs.Normal(5, 400_001), DType.Float32);
        var first = Reductions.Sum(x).Item();
        Assert.That(Enumerable.Range(0, 5).Select(_ => Reductions.Sum(x).Item()), Is.All.EqualTo(first));
    }

    [Test]
    public void EmptySumsAreZero()
    {
        Assert.That(Reductions.Sum(Tensor.Empty(Device, DType.Float32, 0, 3)).Item(), Is.Zero);
        Assert.That(Reductions.SumRows(Tensor.Empty(Device, DType.Float32, 0, 3)).ToSingle(), Is.EqualTo(new float[3]));
        Assert.That(Reductions.SumLast(Tensor.Empty(Device, DType.Float32, 3, 0)).ToSingle(), Is.EqualTo(new float[3]));
        Assert.That(() => Reductions.Sum(Tensor.FromInt32(Device, [1], 1)), Throws.TypeOf<DTypeException>());
    }
}
