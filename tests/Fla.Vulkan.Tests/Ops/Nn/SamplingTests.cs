using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class SamplingTests(TestDevice device) : NnTests(device)
{
    private static (float[] Values, int[] Indices) Expected(float[] x, int width, int k)
    {
        var values = new List<float>();
        var indices = new List<int>();
        for (var start = 0; start < x.Length; start += width)
        {
            // OrderBy is stable: equal elements stay by index.
            var order = Enumerable.Range(0, width).Where(i => !float.IsNaN(x[start + i])).OrderByDescending(i => x[start + i]).Take(k).ToArray();
            values.AddRange(order.Select(i => x[start + i]).Concat(Enumerable.Repeat(float.NegativeInfinity, k - order.Length)));
            indices.AddRange(order.Concat(Enumerable.Repeat(-1, k - order.Length)));
        }
        return ([.. values], [.. indices]);
    }

    private void Check(float[] x, int width, int k, DType type = DType.Float32)
    {
        var input = Make(x, [x.Length / width, width], type);
        var expected = Expected(input.ToSingle(), width, k);
        var (values, indices) = Sampling.TopK(input, k);
        Assert.That(values.Shape.ToArray(), Is.EqualTo(new[] { x.Length / width, k }));
        Assert.That(values.ToSingle(), Is.EqualTo(expected.Values));
        Assert.That(indices.ToInt32(), Is.EqualTo(expected.Indices));
    }

    [Test]
    public void FindsTheLargest([ValueSource(nameof(FloatTypes))] DType type, [Values(1, 7, 64, 100)] int k) => Check(Inputs.Normal(1, 3, 1501).ToFloats(), 1501, k, type);

    [Test]
    public void RowsMayBeNarrow([Values(1, 5)] int width) => Check(Inputs.Normal(1, 4, width).ToFloats(), width, width);

    [Test]
    public void EqualElementsComeByIndex([Values(20, 70)] int k) => Check(Inputs.Ids(1, 5, 900).Select(i => (float)i).ToArray(), 450, k);

    [Test]
    public void InfinitiesCountAndNaNsDoNot([Values(6, 70)] int k)
    {
        var x = Enumerable.Repeat(float.NaN, 300).ToArray();
        (x[3], x[290], x[17], x[18]) = (float.NegativeInfinity, float.PositiveInfinity, 0, float.NegativeInfinity);
        Check(x, 300, k);
    }

    [Test]
    public void ACapturedGraphFollowsItsInput()
    {
        var x = Tensor.Zeros(Device, DType.Float32, 2, 300);
        Tensor? values = null, indices = null;
        using var graph = Device.Stream.Capture(() => (values, indices) = Sampling.TopK(x, 5));
        for (var seed = 0; seed < 2; seed++)
        {
            var now = Inputs.Normal(seed, 2, 300).ToFloats();
            x.Write(now);
            graph.Replay();
            var expected = Expected(now, 300, 5);
            Assert.That(values!.ToSingle(), Is.EqualTo(expected.Values));
            Assert.That(indices!.ToInt32(), Is.EqualTo(expected.Indices));
        }
    }

    [Test]
    public void WrongArgumentsAreTypedErrors()
    {
        var x = Tensor.Zeros(Device, DType.Float32, 2, 3);
        Assert.That(() => Sampling.TopK(x, 0), Throws.TypeOf<ShapeException>());
        Assert.That(() => Sampling.TopK(x, 4), Throws.TypeOf<ShapeException>());
        Assert.That(() => Sampling.TopK(Tensor.Zeros(Device, DType.Float32), 1), Throws.TypeOf<ShapeException>());
        Assert.That(() => Sampling.TopK(Tensor.Zeros(Device, DType.Int32, 2, 3), 1), Throws.TypeOf<DTypeException>());
        Assert.That(Sampling.TopK(Tensor.Empty(Device, DType.Float32, 0, 3), 2).Indices.Shape.ToArray(), Is.EqualTo(new[] { 0, 2 }));
    }
}
