using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class FeatureMapsTests(TestDevice device) : NnTests(device)
{
    [Test]
    public void DpfpRollsItsHalves([ValueSource(nameof(FloatTypes))] DType type, [Values(1, 4)] int nu, [Values(8, 5, 1)] int width)
    {
        RefTensor x = Normal(1, type, 3, 2, width), dy = Normal(2, type, 3, 2, 2 * width * nu);
        var leaf = Leaf(x, type);
        Check(Reference.Dpfp(x, nu, dy), type, FeatureMaps.Dpfp(leaf, nu), dy, ("x", leaf));
    }

    [Test]
    public void HedgehogOfAProjectedHead([ValueSource(nameof(FloatTypes))] DType type)
    {
        // The reference projects: with the identity and no bias it is the map itself.
        const int width = 12;
        RefTensor x = Normal(3, type, 4, width), dy = Normal(4, type, 4, 2 * width);
        var identity = new RefTensor(Enumerable.Range(0, width * width).Select(i => i % (width + 1) == 0 ? 1.0 : 0.0).ToArray(), width, width);
        var leaf = Leaf(x, type);
        Check(Reference.Hedgehog(x, identity, RefTensor.Zeros(width), dy), type, FeatureMaps.Hedgehog(leaf), dy, ("x", leaf));
    }

    [Test]
    public void WrongUseIsATypedError()
    {
        Assert.That(() => FeatureMaps.Dpfp(Make([1], [1]), 0), Throws.TypeOf<ShapeException>());
        Assert.That(() => FeatureMaps.Dpfp(Tensor.FromInt32(Device, [1], 1)), Throws.TypeOf<DTypeException>());
    }
}
