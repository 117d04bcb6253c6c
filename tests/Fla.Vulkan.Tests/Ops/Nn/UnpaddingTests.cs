using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class UnpaddingTests(TestDevice device) : NnTests(device)
{
    private static readonly int[] Mask = [0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0];

    [Test]
    public void PackedAndPaddedAgain([ValueSource(nameof(FloatTypes))] DType type)
    {
        using var unpadding = new Unpadding(Device, Mask, 3, 4);
        Assert.That(unpadding.CuSeqlens.Boundaries.ToArray(), Is.EqualTo(new[] { 0, 2, 5, 5 }));
        RefTensor x = Normal(1, type, 3, 4, 2, 3), dy = Normal(2, type, 3, 4, 2, 3);
        var leaf = Leaf(x, type);
        var packed = unpadding.Pack(leaf);
        Assert.That(packed.Shape.ToArray(), Is.EqualTo(new[] { 1, 5, 2, 3 }));
        Assert.That(packed.ToSingle(), Is.EqualTo(x.ToFloats().Where((_, i) => Mask[i / 6] == 1)));
        var padded = unpadding.Pad(packed);
        float[] Masked(RefTensor t) => t.ToFloats().Select((v, i) => v * Mask[i / 6]).ToArray();
        Assert.That(padded.ToSingle(), Is.EqualTo(Masked(x)));
        Autograd.Backward(padded, Constant(dy, type));
        Assert.That(leaf.Grad!.ToSingle(), Is.EqualTo(Masked(dy)));
    }

    [Test]
    public void WrongShapesAreTypedErrors()
    {
        using var unpadding = new Unpadding(Device, Mask, 3, 4);
        Assert.That(() => new Unpadding(Device, Mask, 3, 5), Throws.TypeOf<ShapeException>());
        Assert.That(() => unpadding.Pack(Make(new float[8], [2, 4])), Throws.TypeOf<ShapeException>());
        Assert.That(() => unpadding.Pad(Make(new float[4], [1, 4])), Throws.TypeOf<ShapeException>());
    }
}
