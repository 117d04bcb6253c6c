using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class RotaryTests(TestDevice device) : NnTests(device)
{
    [Test]
    public void TurnsPairs([Values] bool interleaved, [Values(16, 10)] int dim, [ValueSource(nameof(FloatTypes))] DType type)
    {
        RefTensor x = Normal(1, type, 2, 9, 3, 16), dy = Normal(2, type, 2, 9, 3, 16);
        var leaf = Leaf(x, type);
        var o = Rotary.Apply(leaf, Rotary.Frequencies(Device, dim), interleaved, offset: 5);
        Check(Reference.Rotary(x, dim, interleaved: interleaved, offsets: [5], doutput: dy), type, o, dy, ("x", leaf));
    }

    [Test]
    public void OffsetsOfSequences([Values] bool isLong)
    {
        RefTensor x = Inputs.Normal(3, 3, 5, 2, 8), dy = Inputs.Normal(4, 3, 5, 2, 8);
        var leaf = Leaf(x, DType.Float32);
        int[] offsets = [4, -3, 100];
        var onDevice = isLong ? Tensor.FromInt64(Device, [4, -3, 100], 3) : Tensor.FromInt32(Device, offsets, 3);
        Check(Reference.Rotary(x, offsets: offsets, doutput: dy), DType.Float32, Rotary.Apply(leaf, Rotary.Frequencies(Device, 8), offsets: onDevice), dy, ("x", leaf));
    }

    [Test]
    public void PackedSequences()
    {
        foreach (var boundaries in Inputs.PackedBoundaries)
        {
            RefTensor x = Inputs.Normal(5, 1, boundaries[^1], 2, 8), dy = Inputs.Normal(6, 1, boundaries[^1], 2, 8);
            var leaf = Leaf(x, DType.Float32);
            var offsets = Enumerable.Range(0, boundaries.Length - 1).Select(i => 3 * i).ToArray();
            using var cuSeqlens = new CuSeqlens(Device, boundaries);
            var o = Rotary.Apply(leaf, Rotary.Frequencies(Device, 8), offset: 2, offsets: Tensor.FromInt32(Device, offsets, offsets.Length), cuSeqlens: cuSeqlens);
            var expected = Reference.Rotary(x, offsets: Array.ConvertAll(offsets, i => i + 2), cuSeqlens: boundaries, doutput: dy);
            Check(expected, DType.Float32, o, dy, ("x", leaf));
        }
    }

    [Test]
    public void AnglesAreExactFarOut([Values(1 << 20, 2_000_000_000)] int offset)
    {
        RefTensor x = Inputs.Normal(7, 1, 4, 1, 64), dy = Inputs.Normal(8, 1, 4, 1, 64);
        var leaf = Leaf(x, DType.Float32);
        Check(Reference.Rotary(x, offsets: [offset], doutput: dy), DType.Float32, Rotary.Apply(leaf, Rotary.Frequencies(Device, 64), offset: offset), dy, ("x", leaf));
    }

    [Test]
    public void WholeRadiansSampleTheCircle()
    {
        // One pair of channels turns by one radian a position.
        var x = new RefTensor(Enumerable.Range(0, 2000).Select(i => i % 2 == 0 ? 1f : 0f).ToArray(), 1, 1000, 1, 2);
        var y = Rotary.Apply(Constant(x, DType.Float32), Rotary.Frequencies(Device, 2)).ToSingle();
        for (var t = 0; t < 1000; t++)
        {
            Assert.That(y[2 * t], Is.EqualTo(Math.Cos(t)).Within(3e-7));
            Assert.That(y[(2 * t) + 1], Is.EqualTo(Math.Sin(t)).Within(3e-7));
        }
    }

    [Test]
    public void PositionsPastTheLimitGiveZeros()
    {
        RefTensor x = Inputs.Normal(9, 1, 6, 1, 8), dy = Inputs.Normal(10, 1, 6, 1, 8);
        var leaf = Leaf(x, DType.Float32);
        Check(Reference.Rotary(x, 4, tableLength: 5, offsets: [1], doutput: dy), DType.Float32, Rotary.Apply(leaf, Rotary.Frequencies(Device, 4), offset: 1, limit: 5), dy, ("x", leaf));
    }

    [Test]
    public void WrongUseIsATypedError()
    {
        var x = Make(new float[8], [1, 2, 1, 4]);
        var frequencies = Rotary.Frequencies(Device, 4);
        using var longer = new CuSeqlens(Device, 0, 3);
        Assert.Multiple(() =>
        {
            Assert.That(() => Rotary.Frequencies(Device, 3), Throws.TypeOf<ShapeException>());
            Assert.That(() => Rotary.Frequencies(Device, 4, double.NaN), Throws.TypeOf<ShapeException>());
            Assert.That(() => Rotary.Apply(x, Rotary.Frequencies(Device, 6)), Throws.TypeOf<ShapeException>());
            Assert.That(() => Rotary.Apply(x, Make([1], [1])), Throws.TypeOf<DTypeException>());
            Assert.That(() => Rotary.Apply(x.View(2, 4), frequencies), Throws.TypeOf<ShapeException>());
            Assert.That(() => Rotary.Apply(x, frequencies, offsets: Tensor.FromInt32(Device, [1, 2], 2)), Throws.TypeOf<ShapeException>());
            Assert.That(() => Rotary.Apply(x, frequencies, offsets: Make([1], [1])), Throws.TypeOf<DTypeException>());
            Assert.That(() => Rotary.Apply(x, frequencies, cuSeqlens: longer), Throws.TypeOf<ShapeException>());
        });
    }
}
