using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class ColumnsTests(TestDevice device) : NnTests(device)
{
    private static float[] Slice(RefTensor x, int start, int width) =>
        Enumerable.Range(0, x.Length / x.Shape[^1]).SelectMany(r => x.Data[((r * x.Shape[^1]) + start)..((r * x.Shape[^1]) + start + width)]).Select(v => (float)v).ToArray();

    [TestCase(new[] { 3, 1, 4 })]
    [TestCase(new[] { 8, 16, 8 })]
    [TestCase(new[] { 2, 0, 6 })]
    [TestCase(new[] { 5 })]
    public void ConcatAndSplitAreInverse(int[] sizes)
    {
        foreach (var type in FloatTypes)
        {
            RefTensor whole = Normal(1, type, 3, 5, sizes.Sum());
            var x = Leaf(whole, type);
            var parts = Columns.Split(x, sizes);
            for (int i = 0, start = 0; i < sizes.Length; start += sizes[i++])
            {
                Assert.That(parts[i].Shape.ToArray(), Is.EqualTo(new[] { 3, 5, sizes[i] }));
                Assert.That(parts[i].ToSingle(), Is.EqualTo(Slice(whole, start, sizes[i])));
            }
            var joined = Columns.Concat(parts);
            Assert.That(joined.ToSingle(), Is.EqualTo(whole.ToFloats()));
            RefTensor gradient = Normal(2, type, whole.Shape);
            Autograd.Backward(joined, Constant(gradient, type));
            Assert.That(x.Grad!.ToSingle(), Is.EqualTo(gradient.ToFloats()));
        }
    }

    [Test]
    public void PartsWithoutAGradientCountAsZero()
    {
        RefTensor whole = Inputs.Normal(1, 4, 7), gradient = Inputs.Normal(2, 4, 2);
        var x = Leaf(whole, DType.Float32);
        var parts = Columns.Split(x, 3, 2, 2);
        Autograd.Backward(parts[1], Constant(gradient, DType.Float32));
        var expected = new float[28];
        for (var i = 0; i < 8; i++) expected[((i / 2) * 7) + 3 + (i % 2)] = (float)gradient.Data[i];
        Assert.That(x.Grad!.ToSingle(), Is.EqualTo(expected));
    }

    [Test]
    public void OnlyPartsThatNeedOneGetAGradient()
    {
        RefTensor gradient = Inputs.Normal(2, 4, 5);
        Tensor a = Constant(Inputs.Normal(1, 4, 2), DType.Float32), b = Leaf(Inputs.Normal(3, 4, 3), DType.Float32);
        Autograd.Backward(Columns.Concat(a, b), Constant(gradient, DType.Float32));
        Assert.That(b.Grad!.ToSingle(), Is.EqualTo(Slice(gradient, 2, 3)));
        Assert.That(a.Grad, Is.Null);
    }

    [Test]
    public void IntegersAreCopied()
    {
        var longs = Tensor.FromInt64(Device, [1, 2, long.MaxValue, 4], 2, 2);
        Assert.That(Columns.Concat(longs, longs).ToInt64(), Is.EqualTo(new[] { 1, 2, 1, 2, long.MaxValue, 4, long.MaxValue, 4 }));
        var parts = Columns.Split(Tensor.FromInt32(Device, [1, 2, 3, 4, 5, 6], 2, 3), 1, 2);
        Assert.That(parts[1].ToInt32(), Is.EqualTo(new[] { 2, 3, 5, 6 }));
    }

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(-3)]
    [TestCase(9)]
    public void RollTurnsTheLastAxis(int shift)
    {
        foreach (var type in FloatTypes)
        {
            RefTensor input = Normal(1, type, 3, 7), gradient = Normal(2, type, 3, 7);
            var x = Leaf(input, type);
            var y = Columns.Roll(x, shift);
            Assert.That(y.ToSingle(), Is.EqualTo(Turned(input, shift)));
            Autograd.Backward(y, Constant(gradient, type));
            Assert.That(x.Grad!.ToSingle(), Is.EqualTo(Turned(gradient, -shift)));
        }
        static float[] Turned(RefTensor x, int by) => Enumerable.Range(0, 21).Select(i => (float)x.Data[(i / 7 * 7) + ((((i % 7) - by) % 7 + 7) % 7)]).ToArray();
    }

    [Test]
    public void WrongArgumentsAreTypedErrors()
    {
        Tensor a = Tensor.Zeros(Device, DType.Float32, 2, 3), b = Tensor.Zeros(Device, DType.Float32, 3, 3);
        Assert.That(() => Columns.Concat(a, b), Throws.TypeOf<ShapeException>());
        Assert.That(() => Columns.Concat(), Throws.TypeOf<ShapeException>());
        Assert.That(() => Columns.Concat(a, Tensor.Zeros(Device, DType.Float16, 2, 3)), Throws.TypeOf<DTypeException>());
        Assert.That(() => Columns.Split(a, 1, 1), Throws.TypeOf<ShapeException>());
        Assert.That(() => Columns.Split(a, 4, -1), Throws.TypeOf<ShapeException>());
        Assert.That(() => Columns.Roll(Tensor.Zeros(Device, DType.Float32), 1), Throws.TypeOf<ShapeException>());
    }
}
