using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class LayoutsTests(TestDevice device) : NnTests(device)
{
    [Test]
    public void PartsSideBySideAndApart([Values(0, 1, -1)] int axis, [ValueSource(nameof(FloatTypes))] DType type, [Values(4, 3)] int width)
    {
        int[] shape = [3, 5, width];
        var place = axis < 0 ? 2 : axis;
        int[] sizes = [width, 2, width + 1];
        var parts = sizes.Select((size, i) => Leaf(Normal(i, type, shape.Select((s, a) => a == place ? size : s).ToArray()), type)).ToArray();
        var all = Layouts.Concat(axis, parts);
        Assert.That(all.Size(axis), Is.EqualTo(sizes.Sum()));
        var again = Layouts.Split(all, axis, sizes);
        for (var i = 0; i < parts.Length; i++)
        {
            Assert.That(again[i].ToSingle(), Is.EqualTo(parts[i].ToSingle()));
            Assert.That(again[i].Shape.ToArray(), Is.EqualTo(parts[i].Shape.ToArray()));
        }
        var gradients = parts.Select((p, i) => (Tensor?)Constant(Normal(10 + i, type, p.Shape.ToArray()), type)).ToArray();
        Autograd.Backward(again, gradients);
        for (var i = 0; i < parts.Length; i++) Assert.That(parts[i].Grad!.ToSingle(), Is.EqualTo(gradients[i]!.ToSingle()), $"gradient {i}");
    }

    [Test]
    public void SlicesByIndex()
    {
        var x = Leaf(Inputs.Normal(1, 2, 6, 3), DType.Float32);
        var y = Layouts.Slice(x, 1, 4, 2);
        var values = x.ToSingle();
        Assert.That(y.ToSingle(), Is.EqualTo(values[12..18].Concat(values[30..36])));
        Autograd.Backward(y, Tensor.Full(Device, DType.Float32, 2, 2, 2, 3));
        Assert.That(x.Grad!.ToSingle(), Is.EqualTo(Enumerable.Range(0, 36).Select(i => i % 18 >= 12 ? 2f : 0f)));
        Assert.That(Layouts.Slice(x, 1, 2, 0).Count, Is.Zero);
    }

    [Test]
    public void PartsWithoutAGradientCountAsZero()
    {
        RefTensor whole = Inputs.Normal(1, 4, 7), gradient = Inputs.Normal(2, 4, 2);
        var x = Leaf(whole, DType.Float32);
        var parts = Layouts.Split(x, -1, 3, 2, 2, 0);
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
        Autograd.Backward(Layouts.Concat(1, a, b), Constant(gradient, DType.Float32));
        Assert.That(b.Grad!.ToSingle(), Is.EqualTo(gradient.ToFloats().Where((_, i) => i % 5 >= 2)));
        Assert.That(a.Grad, Is.Null);
    }

    [Test]
    public void IntegersAreCopied()
    {
        var longs = Tensor.FromInt64(Device, [1, 2, long.MaxValue, 4], 2, 2);
        Assert.That(Layouts.Concat(1, longs, longs).ToInt64(), Is.EqualTo(new[] { 1, 2, 1, 2, long.MaxValue, 4, long.MaxValue, 4 }));
        var parts = Layouts.Split(Tensor.FromInt32(Device, [1, 2, 3, 4, 5, 6], 2, 3), 1, 1, 2);
        Assert.That(parts[1].ToInt32(), Is.EqualTo(new[] { 2, 3, 5, 6 }));
    }

    [Test]
    public void WrongUseIsATypedError()
    {
        var x = Make(new float[6], [2, 3]);
        Assert.Multiple(() =>
        {
            Assert.That(() => Layouts.Concat(0), Throws.TypeOf<ShapeException>());
            Assert.That(() => Layouts.Concat(0, x, Make(new float[2], [2])), Throws.TypeOf<ShapeException>());
            Assert.That(() => Layouts.Concat(0, x, Make(new float[2], [1, 2])), Throws.TypeOf<ShapeException>());
            Assert.That(() => Layouts.Concat(0, x, Make(new float[6], [2, 3], DType.Float16)), Throws.TypeOf<DTypeException>());
            Assert.That(() => Layouts.Slice(x, 1, 2, 2), Throws.TypeOf<ShapeException>());
            Assert.That(() => Layouts.Slice(x, 2, 0, 0), Throws.TypeOf<ShapeException>());
            Assert.That(() => Layouts.Split(x, 1, 1, 1), Throws.TypeOf<ShapeException>());
            Assert.That(() => Layouts.Split(x, 1, 4, -1), Throws.TypeOf<ShapeException>());
        });
    }
}
