using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class RotaryTests(TestDevice device) : NnTests(device)
{
    private void Check(int[] shape, DType type = DType.Float32, float theta = 10000, int offset = 0, int[]? offsets = null, int[]? packed = null,
        bool interleaved = false, int? dim = null)
    {
        RefTensor input = Normal(1, type, shape), gradient = Normal(2, type, shape);
        var positions = offsets is null ? [offset] : Array.ConvertAll(offsets, o => o + offset);
        var expected = Reference.Rotary(input, dim, theta, interleaved, positions, packed, doutput: gradient);
        using var cu = packed is null ? null : new CuSeqlens(Device, packed);
        var x = Leaf(input, type);
        var o = Rotary.Apply(x, theta, offset, offsets is null ? null : Tensor.FromInt32(Device, offsets, offsets.Length), cu, interleaved, dim);
        Check(expected, type, o, gradient, ("x", x));
    }

    [Test]
    public void TurnsPairs([ValueSource(nameof(FloatTypes))] DType type, [Values] bool interleaved) =>
        Check([2, 37, 3, 64], type, interleaved: interleaved);

    [TestCase(8, 6, true)]
    [TestCase(8, 6, false)]
    [TestCase(7, 2, false)]
    [TestCase(13, 10, true)]
    [TestCase(100, 64, false)]
    [TestCase(96, 32, true)]
    [TestCase(256, 256, false)]
    [TestCase(300, 256, true)]
    public void TheTailStays(int width, int dim, bool interleaved) => Check([2, 5, 3, width], DType.Float16, interleaved: interleaved, dim: dim, offset: 3);

    [Test]
    public void ManyHeadsShareAngles() => Check([1, 700, 12, 512], dim: 256, offset: 11);

    [TestCase(10000f, 1 << 20)]
    [TestCase(1000000f, 1 << 30)]
    [TestCase(2f, 100000)]
    public void LargePositionsKeepTheirAccuracy(float theta, int offset) => Check([1, 9, 2, 128], theta: theta, offset: offset);

    [Test]
    public void OffsetsMayDifferAndNegativePositionsGiveZeros([Values] bool interleaved) =>
        Check([3, 6, 2, 16], offset: 1, offsets: [-4, 100, -50], interleaved: interleaved, dim: 12);

    [Test]
    public void OneOffsetServesAll() => Check([3, 6, 2, 16], offsets: [9]);

    [Test]
    public void PackedSequencesRestart([Values] bool withOffsets)
    {
        foreach (var packed in Inputs.PackedBoundaries)
        {
            Check([1, packed[^1], 2, 16], packed: packed, offsets: withOffsets ? Enumerable.Range(0, packed.Length - 1).Select(n => 5 - (3 * n)).ToArray() : null);
        }
    }

    [Test]
    public void ACapturedGraphReadsItsOffsets()
    {
        RefTensor input = Inputs.Normal(1, 2, 1, 3, 32);
        var x = Constant(input, DType.Float32);
        var offsets = Tensor.Zeros(Device, DType.Int32, 2);
        Tensor? y = null;
        using var graph = Device.Stream.Capture(() => y = Rotary.Apply(x, offsets: offsets));
        foreach (var now in new int[][] { [3, 4], [70, 0] })
        {
            offsets.Write(now);
            graph.Replay();
            ErrorRatio.AssertClose(y!.ToSingle(), Reference.Rotary(input, offsets: now).O.ToFloats(), 1e-6, "o");
        }
    }

    [Test]
    public void NoTokensAreFine() => Assert.That(Rotary.Apply(Tensor.Empty(Device, DType.Float32, 2, 0, 3, 8)).Count, Is.Zero);

    [Test]
    public void WrongArgumentsAreTypedErrors()
    {
        var x = Tensor.Zeros(Device, DType.Float32, 2, 3, 2, 8);
        Assert.That(() => Rotary.Apply(x, rotaryDim: 3), Throws.TypeOf<ShapeException>());
        Assert.That(() => Rotary.Apply(x, rotaryDim: 10), Throws.TypeOf<ShapeException>());
        Assert.That(() => Rotary.Apply(Tensor.Zeros(Device, DType.Float32, 1, 1, 1, 512)), Throws.TypeOf<ShapeException>());
        Assert.That(() => Rotary.Apply(x, theta: 1), Throws.TypeOf<ShapeException>());
        Assert.That(() => Rotary.Apply(x.View(6, 2, 8)), Throws.TypeOf<ShapeException>());
        Assert.That(() => Rotary.Apply(x, offsets: Tensor.Zeros(Device, DType.Int32, 3)), Throws.TypeOf<ShapeException>());
        Assert.That(() => Rotary.Apply(x, offsets: Tensor.Zeros(Device, DType.Float32, 2)), Throws.TypeOf<DTypeException>());
        Assert.That(() => Rotary.Apply(Tensor.Zeros(Device, DType.Int32, 2, 3, 2, 8)), Throws.TypeOf<DTypeException>());
        using var cu = new CuSeqlens(Device, 0, 2, 6);
        Assert.That(() => Rotary.Apply(x, cuSeqlens: cu), Throws.TypeOf<ShapeException>());
    }
}
