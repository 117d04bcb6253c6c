using Fla.Testing;
using Fla.Vulkan;
using NUnit.Framework;

namespace Fla.Layers.Tests;

public sealed class PaddingMaskTests(TestDevice device) : DeviceTests(device)
{
    [Test]
    public void PaddingIsDroppedAndPutBack([Values] bool isLeft)
    {
        bool[] valid = isLeft ? [false, true, true, true, true, true] : [true, true, false, true, true, true];
        using var mask = new PaddingMask(Device, 2, 3, valid);
        var window = mask.Window(3)!;
        Assert.That(window.CuSeqlens.Boundaries.ToArray(), Is.EqualTo(new[] { 0, 2, 5 }));
        var x = Make([1, 2, 3, 4, 5, 6], [2, 3, 1]);
        x.RequiresGrad = true;
        var packed = window.Unpad(x);
        Assert.That(packed.Shape.ToArray(), Is.EqualTo(new[] { 1, 5, 1 }));
        Assert.That(packed.ToSingle(), Is.EqualTo(isLeft ? new float[] { 2, 3, 4, 5, 6 } : [1, 2, 4, 5, 6]));
        var padded = window.Pad(packed);
        float[] expected = isLeft ? [0, 2, 3, 4, 5, 6] : [1, 2, 0, 4, 5, 6];
        Assert.That(padded.ToSingle(), Is.EqualTo(expected));
        Assert.That(window.Mask(x).ToSingle(), Is.EqualTo(expected));
        Autograd.Backward(padded, Make([10, 20, 30, 40, 50, 60], [2, 3, 1]));
        Assert.That(x.Grad!.ToSingle(), Is.EqualTo(isLeft ? new float[] { 0, 20, 30, 40, 50, 60 } : [10, 20, 0, 40, 50, 60]));
    }

    [Test]
    public void LengthsPadOnTheLeft()
    {
        using var mask = PaddingMask.Left(Device, [2, 4]);
        Assert.That((mask.Rows, mask.Columns, mask.Length(0), mask.Length(1)), Is.EqualTo((2, 4, 2, 4)));
        Assert.That(mask.Window(2), Is.Null, "the last two columns hold tokens only");
        var window = mask.Window(3)!;
        Assert.That(window.CuSeqlens.Boundaries.ToArray(), Is.EqualTo(new[] { 0, 2, 5 }));
        Assert.That(mask.Window(3), Is.SameAs(window));
    }

    [Test]
    public void WrongMasksAreRefused()
    {
        Assert.That(() => new PaddingMask(Device, 2, 2, [true, true, true]), Throws.TypeOf<ShapeException>());
        Assert.That(() => new PaddingMask(Device, 2, 2, [true, true, false, false]), Throws.TypeOf<ShapeException>().With.Message.Contains("row 1"));
        using var mask = PaddingMask.Left(Device, [2]);
        Assert.That(() => mask.Window(3), Throws.TypeOf<ShapeException>());
    }
}
