using Fla.Testing;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops;

public sealed class CuSeqlensTests(TestDevice device) : DeviceTests(device)
{
    [Test]
    public void ChunksAreListedInOrder()
    {
        using var packed = new CuSeqlens(Device, 0, 0, 33, 35);
        Assert.That((packed.Count, packed.Length, packed.ChunkCapacity(16)), Is.EqualTo((3, 35, 5)));
        int[] starts = [0, 0, 33, 35], offsets = [0, 0, 3, 4], chunks = [1, 0, 1, 1, 1, 2, 2, 0, -1, -1];
        Assert.That(packed.Table(16).ToInt32(), Is.EqualTo((int[])[.. starts, .. offsets, .. chunks]));
        Assert.That(packed.Starts.ToInt32(), Is.EqualTo(starts));
    }

    [Test]
    public void OtherBoundariesGoToTheSameMemory()
    {
        using var packed = new CuSeqlens(Device, 0, 0, 33, 35);
        var table = packed.Table(16);
        packed.Set(0, 16, 18, 35);
        Assert.That(packed.Table(16), Is.SameAs(table));
        Assert.That(table.ToInt32(), Is.EqualTo((int[])[0, 16, 18, 35, 0, 1, 2, 4, 0, 0, 1, 0, 2, 0, 2, 1, -1, -1]));
        Assert.That(packed.Boundaries.ToArray(), Is.EqualTo((int[])[0, 16, 18, 35]));
    }

    [TestCase(new[] { 0 })]
    [TestCase(new[] { 1, 5 })]
    [TestCase(new[] { 0, 5, 4 })]
    public void BoundariesRiseFromZero(int[] boundaries) => Assert.That(() => new CuSeqlens(Device, boundaries), Throws.TypeOf<ShapeException>());

    [TestCase(new[] { 0, 5, 9 })]
    [TestCase(new[] { 0, 8 })]
    public void CountAndLengthStay(int[] boundaries)
    {
        using var packed = new CuSeqlens(Device, 0, 3, 8);
        Assert.That(() => packed.Set(boundaries), Throws.TypeOf<ShapeException>());
    }

    [Test]
    public void TokensAreThoseOfTheSequences()
    {
        using var packed = new CuSeqlens(Device, 0, 3, 8);
        var q = Tensor.Zeros(Device, DType.Float32, 1, 7, 1, 8);
        Assert.That(() => LinearOps.ChunkGla(q, q, q, q, cuSeqlens: packed), Throws.TypeOf<ShapeException>().With.Message.Contains("7 tokens"));
    }
}
