using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class EmbeddingsTests(TestDevice device) : NnTests(device)
{
    [Test]
    public void LookupAndItsGradient([ValueSource(nameof(FloatTypes))] DType type, [Values(16, 37, 300)] int width, [Values(5, 97)] int vocabulary, [Values] bool isLong)
    {
        var ids = Inputs.Ids(1, vocabulary, 6000 / width);
        RefTensor table = Normal(2, type, vocabulary, width), dy = Normal(3, type, ids.Length, width);
        var weight = Leaf(table, type);
        var onDevice = isLong ? Tensor.FromInt64(Device, Array.ConvertAll(ids, i => (long)i), ids.Length) : Tensor.FromInt32(Device, ids, ids.Length);
        Check(Reference.Embedding(ids, table, 1.5, dy), type, Embeddings.Lookup(weight, onDevice, 1.5f), dy, ("weight", weight));
    }

    [Test]
    public void ManyTokensOfFewEntriesRepeatBitByBit()
    {
        var ids = Enumerable.Range(0, 5000).Select(i => i % 7 == 0 ? 3 : i % 50).ToArray();
        var dy = Inputs.Normal(4, 5000, 8);
        var weight = Leaf(Inputs.Normal(5, 50, 8), DType.Float32);
        Check(Reference.Embedding(ids, Inputs.Normal(5, 50, 8), 1, dy), DType.Float32, Embeddings.Lookup(weight, ids, [5000]), dy, ("weight", weight));
        var first = weight.Grad!.ToSingle();
        weight.Grad = null;
        Autograd.Backward(Embeddings.Lookup(weight, ids, [5000]), Constant(dy, DType.Float32));
        Assert.That(weight.Grad!.ToSingle(), Is.EqualTo(first));
    }

    [Test]
    public void ShapesFollowTheIds()
    {
        var weight = Make([1, 2, 3, 4, 5, 6], [3, 2]);
        var y = Embeddings.Lookup(weight, [2, 0, 1, 1], [2, 2]);
        Assert.That(y.Shape.ToArray(), Is.EqualTo(new[] { 2, 2, 2 }));
        Assert.That(y.ToSingle(), Is.EqualTo(new float[] { 5, 6, 1, 2, 3, 4, 3, 4 }));
    }

    [Test]
    public void IdsOutsideTheTable()
    {
        var weight = Leaf(Inputs.Normal(6, 3, 4), DType.Float32);
        Assert.That(() => Embeddings.Lookup(weight, [0, 3], [2]), Throws.TypeOf<ArgumentOutOfRangeException>());
        Assert.That(() => Embeddings.Lookup(weight, [-1], [1]), Throws.TypeOf<ArgumentOutOfRangeException>());
        var y = Embeddings.Lookup(weight, Tensor.FromInt64(Device, [-1, 3, 1L << 40, -(1L << 40)], 4));
        Assert.That(y.ToSingle(), Is.All.Zero);
        Autograd.Backward(y, Tensor.Full(Device, DType.Float32, 1, 4, 4));
        Assert.That(weight.Grad!.ToSingle(), Is.All.Zero);
    }

    [Test]
    public void WrongUseIsATypedError()
    {
        var ids = Tensor.FromInt32(Device, [0], 1);
        Assert.That(() => Embeddings.Lookup(Make([1], [1]), ids), Throws.TypeOf<ShapeException>());
        Assert.That(() => Embeddings.Lookup(Make([1], [1, 1]), Make([0], [1])), Throws.TypeOf<DTypeException>());
        Assert.That(() => Embeddings.Lookup(Tensor.FromInt32(Device, [0], 1, 1), ids), Throws.TypeOf<DTypeException>());
    }
}
