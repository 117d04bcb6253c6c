using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class EmbeddingsTests(TestDevice device) : NnTests(device)
{
    /// <summary>Rows of the table that the ids name; zeros for an id that names none.</summary>
    private static float[] Rows(float[] table, int width, long[] ids)
    {
        var rows = new float[ids.Length * width];
        for (var i = 0; i < ids.Length; i++)
        {
            if (ids[i] >= 0 && ids[i] < table.Length / width) Array.Copy(table, ids[i] * width, rows, i * width, width);
        }
        return rows;
    }

    private static float[] SummedRows(float[] dy, int width, long[] ids, int entries, int skip = -1)
    {
        var sums = new double[entries * width];
        for (var i = 0; i < ids.Length; i++)
        {
            if (ids[i] < 0 || ids[i] >= entries || ids[i] == skip) continue;
            for (var c = 0; c < width; c++) sums[(ids[i] * width) + c] += dy[(i * width) + c];
        }
        return Array.ConvertAll(sums, x => (float)x);
    }

    private Tensor Ids(long[] ids, DType type, params int[] shape) =>
        type == DType.Int64 ? Tensor.FromInt64(Device, ids, shape) : Tensor.FromInt32(Device, Array.ConvertAll(ids, x => (int)x), shape);

    [Test]
    public void GivesRowsAndSumsGradients([ValueSource(nameof(FloatTypes))] DType type, [Values(DType.Int32, DType.Int64)] DType idType,
        [Values(1, 10, 64, 260)] int width)
    {
        const int entries = 37, rows = 3000;
        // Entry 5 takes half of the rows, entry 36 none.
        var ids = Inputs.Ids(1, 72, rows).Select(i => (long)(i < 36 ? i : 5)).ToArray();
        RefTensor table = Normal(2, type, entries, width), dy = Normal(3, type, 2, rows / 2, width);
        var weight = Leaf(table, type);
        var y = Embeddings.Lookup(weight, Ids(ids, idType, 2, rows / 2));
        Assert.That(y.Shape.ToArray(), Is.EqualTo(new[] { 2, rows / 2, width }));
        Assert.That(y.ToSingle(), Is.EqualTo(Rows(table.ToFloats(), width, ids)));
        Autograd.Backward(y, Constant(dy, type));
        Assert.That(weight.Grad!.DType, Is.EqualTo(type));
        ErrorRatio.AssertClose(weight.Grad.ToSingle(), SummedRows(dy.ToFloats(), width, ids, entries), type == DType.Float32 ? 1e-6 : GradientTolerance(type), "grad.weight");
    }

    [Test]
    public void IdsOutsideTheVocabularyGiveZerosAndNoGradient([Values(DType.Int32, DType.Int64)] DType idType)
    {
        const int entries = 20, width = 8;
        long[] ids = [3, -1, 20, int.MaxValue, int.MinValue, 19, 0, -100, 3];
        if (idType == DType.Int64) ids = [.. ids, long.MaxValue, long.MinValue, 1L << 32];
        RefTensor table = Inputs.Normal(2, entries, width), dy = Inputs.Normal(3, ids.Length, width);
        var weight = Leaf(table, DType.Float32);
        var y = Embeddings.Lookup(weight, Ids(ids, idType, ids.Length));
        Assert.That(y.ToSingle(), Is.EqualTo(Rows(table.ToFloats(), width, ids)));
        Autograd.Backward(y, Constant(dy, DType.Float32));
        ErrorRatio.AssertClose(weight.Grad!.ToSingle(), SummedRows(dy.ToFloats(), width, ids, entries), 1e-6, "grad.weight");
    }

    [Test]
    public void ThePaddingRowGetsNoGradient()
    {
        long[] ids = [3, 0, 3, 1, 0];
        RefTensor table = Inputs.Normal(2, 4, 5), dy = Inputs.Normal(3, 5, 5);
        var weight = Leaf(table, DType.Float32);
        var y = Embeddings.Lookup(weight, [3, 0, 3, 1, 0], [5], paddingIdx: 0);
        Assert.That(y.ToSingle(), Is.EqualTo(Rows(table.ToFloats(), 5, ids)));
        Autograd.Backward(y, Constant(dy, DType.Float32));
        ErrorRatio.AssertClose(weight.Grad!.ToSingle(), SummedRows(dy.ToFloats(), 5, ids, 4, skip: 0), 1e-6, "grad.weight");
    }

    [Test]
    public void ACapturedGraphFollowsNewIds()
    {
        const int entries = 50, width = 12, rows = 90;
        RefTensor table = Inputs.Normal(2, entries, width), dy = Inputs.Normal(3, rows, width);
        var weight = Leaf(table, DType.Float32);
        var gradient = Constant(dy, DType.Float32);
        var ids = Tensor.Zeros(Device, DType.Int32, rows);
        Tensor? y = null;
        using var graph = Device.Stream.Capture(() =>
        {
            y = Embeddings.Lookup(weight, ids);
            Autograd.Backward(y, gradient);
        });
        for (var seed = 0; seed < 2; seed++)
        {
            var now = Inputs.Ids(seed, entries, rows);
            ids.Write(now);
            graph.Replay();
            var wide = Array.ConvertAll(now, x => (long)x);
            Assert.That(y!.ToSingle(), Is.EqualTo(Rows(table.ToFloats(), width, wide)));
            ErrorRatio.AssertClose(weight.Grad!.ToSingle(), SummedRows(dy.ToFloats(), width, wide, entries), 1e-6, "grad.weight");
        }
        weight.Grad = null;
    }

    [Test]
    public void GradientsRepeatBitByBit()
    {
        var ids = Tensor.FromInt32(Device, Inputs.Ids(1, 9, 2000), 2000);
        var dy = Constant(Inputs.Normal(3, 2000, 33), DType.Float32);
        float[] Once()
        {
            var weight = Leaf(Inputs.Normal(2, 9, 33), DType.Float32);
            Autograd.Backward(Embeddings.Lookup(weight, ids), dy);
            return weight.Grad!.ToSingle();
        }
        var first = Once();
        Assert.That(Once(), Is.EqualTo(first));
    }

    [Test]
    public void NoRowsAreFine()
    {
        var weight = Leaf(Inputs.Normal(2, 9, 4), DType.Float32);
        var y = Embeddings.Lookup(weight, Tensor.Empty(Device, DType.Int32, 0));
        Assert.That(y.Shape.ToArray(), Is.EqualTo(new[] { 0, 4 }));
        Autograd.Backward(y, Tensor.Empty(Device, DType.Float32, 0, 4));
        Assert.That(weight.Grad!.ToSingle(), Is.All.Zero);
    }

    [Test]
    public void WrongArgumentsAreTypedErrors()
    {
        var weight = Tensor.Zeros(Device, DType.Float32, 4, 2);
        var ids = Tensor.Zeros(Device, DType.Int32, 3);
        Assert.That(() => Embeddings.Lookup(weight, [0, 4], [2]), Throws.TypeOf<IndexException>().With.Message.Contains("token id 4 at position 1"));
        Assert.That(() => Embeddings.Lookup(weight, [-1], [1]), Throws.TypeOf<IndexException>());
        Assert.That(() => Embeddings.Lookup(weight, [0, 1], [3]), Throws.TypeOf<ShapeException>());
        Assert.That(() => Embeddings.Lookup(weight, weight), Throws.TypeOf<DTypeException>());
        Assert.That(() => Embeddings.Lookup(ids, ids), Throws.TypeOf<ShapeException>());
        Assert.That(() => Embeddings.Lookup(Tensor.Zeros(Device, DType.Int32, 4, 2), ids), Throws.TypeOf<DTypeException>());
        Assert.That(() => Embeddings.Lookup(weight, ids, paddingIdx: 4), Throws.TypeOf<ShapeException>());
    }
}
