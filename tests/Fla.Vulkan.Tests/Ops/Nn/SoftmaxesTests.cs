using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class SoftmaxesTests(TestDevice device) : NnTests(device)
{
    [Test]
    public void SoftmaxOverTheLastAxis([ValueSource(nameof(FloatTypes))] DType type, [Values(3, 64, 700)] int width)
    {
        RefTensor x = Round(Inputs.Normal(1, 4, 5, width).Map(v => 4 * v), type), dy = Normal(2, type, 4, 5, width);
        var leaf = Leaf(x, type);
        Check(Reference.Softmax(x, dy), type, Softmaxes.Softmax(leaf), dy, ("x", leaf));
    }

    [Test]
    public void SumsBecomeOne([ValueSource(nameof(FloatTypes))] DType type, [Values(8, 37)] int width)
    {
        RefTensor x = Round(Inputs.Uniform(3, 0.1, 1, 6, width), type), dy = Normal(4, type, 6, width);
        var leaf = Leaf(x, type);
        Check(Reference.SumNormalize(x, 1e-4, dy), type, Softmaxes.SumNormalize(leaf), dy, ("x", leaf));
    }

    [Test]
    public void LargeInputsStayFinite()
    {
        var y = Softmaxes.Softmax(Make([1e30f, 1e30f, -1e30f, float.NegativeInfinity], [1, 4])).ToSingle();
        Assert.That(y, Is.EqualTo(new float[] { 0.5f, 0.5f, 0, 0 }));
    }

    [Test]
    public void WrongUseIsATypedError()
    {
        Assert.That(() => Softmaxes.Softmax(Tensor.FromInt32(Device, [1], 1)), Throws.TypeOf<DTypeException>());
        Assert.That(() => Softmaxes.SumNormalize(Make([1], [])), Throws.TypeOf<ShapeException>());
        Assert.That(Softmaxes.Softmax(Tensor.Empty(Device, DType.Float32, 3, 0)).Count, Is.Zero);
    }
}
