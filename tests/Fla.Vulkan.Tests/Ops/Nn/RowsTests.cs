using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class RowsTests(TestDevice device) : NnTests(device)
{
    private static readonly int[] Valid = [1, 2, 5, 7, 8, 11];     // b·S + s of a batch [3, 4]

    private static float[] Take(RefTensor x, int[] index, int width) =>
        index.SelectMany(i => i < 0 || i >= x.Length / width ? new double[width] : x.Data[(i * width)..((i + 1) * width)]).Select(v => (float)v).ToArray();

    private static float[] Place(RefTensor x, int[] index, int rows, int width)
    {
        var y = new float[rows * width];
        for (var r = 0; r < index.Length; r++)
        {
            for (var c = 0; c < width && index[r] >= 0 && index[r] < rows; c++) y[(index[r] * width) + c] = (float)x.Data[(r * width) + c];
        }
        return y;
    }

    private Tensor Table(int[] index, params int[] shape) => Tensor.FromInt32(Device, index, shape);

    [Test]
    public void GatherTakesRowsAndSumsTheirGradients([ValueSource(nameof(FloatTypes))] DType type)
    {
        int[] index = [4, 0, 4, -1, 5, 4];
        RefTensor input = Normal(1, type, 5, 2, 3), gradient = Normal(2, type, 2, 3, 2, 3);
        var x = Leaf(input, type);
        var y = Rows.Gather(x, Table(index, 2, 3));
        Assert.That(y.Shape.ToArray(), Is.EqualTo(new[] { 2, 3, 2, 3 }));
        Assert.That(y.ToSingle(), Is.EqualTo(Take(input, index, 6)));
        Autograd.Backward(y, Constant(gradient, type));
        var expected = new double[30];
        for (var i = 0; i < 36; i++)
        {
            if (index[i / 6] is >= 0 and < 5) expected[(index[i / 6] * 6) + (i % 6)] += gradient.Data[i];
        }
        Assert.That(x.Grad!.Shape.ToArray(), Is.EqualTo(input.Shape));
        ErrorRatio.AssertClose(x.Grad.ToSingle(), Array.ConvertAll(expected, v => (float)v), GradientTolerance(type), "grad.x");
    }

    [Test]
    public void ScatterPlacesRows([ValueSource(nameof(FloatTypes))] DType type, [Values(3, 8)] int width)
    {
        int[] index = [4, 0, -1, 6, 2];
        RefTensor input = Normal(1, type, 5, width), gradient = Normal(2, type, 6, width);
        var x = Leaf(input, type);
        var y = Rows.Scatter(x, Table(index, 5), 6);
        Assert.That(y.ToSingle(), Is.EqualTo(Place(input, index, 6, width)));
        Autograd.Backward(y, Constant(gradient, type));
        Assert.That(x.Grad!.ToSingle(), Is.EqualTo(Take(gradient, index, width)));
    }

    [Test]
    public void UnpadAndPadAreInverse([ValueSource(nameof(FloatTypes))] DType type)
    {
        RefTensor input = Normal(1, type, 3, 4, 2, 5), gradient = Normal(2, type, 3, 4, 2, 5);
        Tensor x = Leaf(input, type), table = Table(Valid, Valid.Length);
        var packed = Rows.Unpad(x, table);
        Assert.That(packed.Shape.ToArray(), Is.EqualTo(new[] { 1, 6, 2, 5 }));
        Assert.That(packed.ToSingle(), Is.EqualTo(Take(input, Valid, 10)));
        var padded = Rows.Pad(packed, table, 3, 4);
        var kept = new RefTensor(Take(input, Valid, 10), 6, 10);
        Assert.That(padded.Shape.ToArray(), Is.EqualTo(input.Shape));
        Assert.That(padded.ToSingle(), Is.EqualTo(Place(kept, Valid, 12, 10)));
        Autograd.Backward(padded, Constant(gradient, type));
        Assert.That(x.Grad!.Shape.ToArray(), Is.EqualTo(input.Shape));
        Assert.That(x.Grad.ToSingle(), Is.EqualTo(Place(new RefTensor(Take(gradient, Valid, 10), 6, 10), Valid, 12, 10)));
    }

    [Test]
    public void PadGivesThePackedTokensTheirGradient()
    {
        RefTensor input = Inputs.Normal(1, 1, 6, 8), gradient = Inputs.Normal(2, 3, 4, 8);
        var x = Leaf(input, DType.Float32);
        Autograd.Backward(Rows.Pad(x, Table(Valid, 6), 3, 4), Constant(gradient, DType.Float32));
        Assert.That(x.Grad!.Shape.ToArray(), Is.EqualTo(input.Shape));
        Assert.That(x.Grad.ToSingle(), Is.EqualTo(Take(gradient, Valid, 8)));
    }

    [Test]
    public void HeadsRepeatInARow([ValueSource(nameof(FloatTypes))] DType type, [Values(1, 3)] int groups, [Values(8, 5)] int width)
    {
        RefTensor x = Normal(2, type, 2, 4, 2, width), dy = Normal(3, type, 2, 4, 2 * groups, width);
        var leaf = Leaf(x, type);
        var y = Rows.RepeatHeads(leaf, groups);
        Assert.That(y.Shape.ToArray(), Is.EqualTo(dy.Shape));
        var source = Enumerable.Range(0, dy.Length).Select(i => (i / width / groups * width) + (i % width)).ToArray();
        Assert.That(y.ToSingle(), Is.EqualTo(source.Select(i => (float)x.Data[i])));
        Autograd.Backward(y, Constant(dy, type));
        var expected = new double[x.Length];
        for (var i = 0; i < source.Length; i++) expected[source[i]] += dy.Data[i];
        ErrorRatio.AssertClose(leaf.Grad!.ToSingle(), new RefTensor(expected, x.Shape).ToFloats(), GradientTolerance(type), "gradient");
    }

    [Test]
    public void IntegersAndLongTablesAreFine()
    {
        var ids = Tensor.FromInt64(Device, [1, 2, 3, 4, 5, 6], 3, 2);
        Assert.That(Rows.Gather(ids, Tensor.FromInt64(Device, [2, 0], 2)).ToInt64(), Is.EqualTo(new long[] { 5, 6, 1, 2 }));
        Assert.That(Rows.Unpad(Tensor.FromInt32(Device, [1, 2, 3, 4], 2, 2), Table([3, 0], 2)).ToInt32(), Is.EqualTo(new[] { 4, 1 }));
    }

    [Test]
    public void WrongArgumentsAreTypedErrors()
    {
        Tensor x = Tensor.Zeros(Device, DType.Float32, 3, 4), table = Table([0, 1], 2);
        Assert.That(() => Rows.Gather(x, x), Throws.TypeOf<DTypeException>());
        Assert.That(() => Rows.Gather(Tensor.Zeros(Device, DType.Float32), table), Throws.TypeOf<ShapeException>());
        Assert.That(() => Rows.Scatter(x, table, 5), Throws.TypeOf<ShapeException>());
        Assert.That(() => Rows.Unpad(x.View(12), table), Throws.TypeOf<ShapeException>());
        Assert.That(() => Rows.Pad(x, table, 2, 2), Throws.TypeOf<ShapeException>());
        Assert.That(() => Rows.Pad(x.View(1, 3, 4), table, 2, 2), Throws.TypeOf<ShapeException>());
        Assert.That(() => Rows.RepeatHeads(x, 2), Throws.TypeOf<ShapeException>());
        Assert.That(() => Rows.RepeatHeads(x.View(1, 1, 3, 4), 0), Throws.TypeOf<ShapeException>());
    }
}
