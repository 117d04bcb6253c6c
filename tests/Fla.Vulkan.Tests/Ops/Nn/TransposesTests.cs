using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class TransposesTests(TestDevice device) : NnTests(device)
{
    [Test]
    public void ExchangesTheLastTwoAxes([ValueSource(nameof(FloatTypes))] DType type, [Values(1, 31, 64)] int rows, [Values(1, 33, 70)] int columns)
    {
        RefTensor input = Normal(1, type, 2, 3, rows, columns), gradient = Normal(2, type, 2, 3, columns, rows);
        var x = Leaf(input, type);
        var y = Transposes.LastTwo(x);
        Assert.That(y.Shape.ToArray(), Is.EqualTo(gradient.Shape));
        Assert.That(y.ToSingle(), Is.EqualTo(input.SwapLastAxes().ToFloats()));
        Autograd.Backward(y, Constant(gradient, type));
        Assert.That(x.Grad!.ToSingle(), Is.EqualTo(gradient.SwapLastAxes().ToFloats()));
    }

    [Test]
    public void IntegersAndEmptyOnesAreFine()
    {
        Assert.That(Transposes.LastTwo(Tensor.FromInt64(Device, [1, 2, 3, 4, 5, 6], 2, 3)).ToInt64(), Is.EqualTo(new long[] { 1, 4, 2, 5, 3, 6 }));
        Assert.That(Transposes.LastTwo(Tensor.Empty(Device, DType.Float32, 0, 3)).Shape.ToArray(), Is.EqualTo(new[] { 3, 0 }));
    }

    [Test]
    public void AVectorIsATypedError() => Assert.That(() => Transposes.LastTwo(Tensor.Zeros(Device, DType.Float32, 4)), Throws.TypeOf<ShapeException>());
}
