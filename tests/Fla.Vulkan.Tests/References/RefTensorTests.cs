using Fla.Testing.References;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.References;

[TestFixture]
public sealed class RefTensorTests
{
    [Test]
    public void Rounding_GivesTheNearestNumberOfTheType()
    {
        RefTensor x = new([1 + (1.0 / 256), 1 + (3.0 / 256), -1.01, 1e-9], 4);
        Assert.That(x.RoundToBFloat16().Data, Is.EqualTo(new[] { 1, 1 + (4.0 / 256), -1.0078125, (1 + (9.0 / 128)) * Math.Pow(2, -30) }));
        Assert.That(x.RoundToHalf().Data, Is.EqualTo(new[] { 1 + (1.0 / 256), 1 + (3.0 / 256), -1.009765625, 0 }));
    }

    [Test]
    public void SwapLastAxes_TransposesEveryMatrix()
    {
        RefTensor x = new([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], 2, 2, 3);
        RefTensor y = x.SwapLastAxes();
        Assert.That(y.Shape, Is.EqualTo(new[] { 2, 3, 2 }));
        Assert.That(y.Data, Is.EqualTo(new double[] { 1, 4, 2, 5, 3, 6, 7, 10, 8, 11, 9, 12 }));
    }

    [Test]
    public void WrongVolume_IsAnError() => Assert.That(() => new RefTensor([1.0, 2.0], 3), Throws.ArgumentException);
}
