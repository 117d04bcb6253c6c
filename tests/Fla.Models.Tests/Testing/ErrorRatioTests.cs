using Fla.Testing;
using NUnit.Framework;

namespace Fla.Models.Tests.Testing;

public sealed class ErrorRatioTests
{
    [Test]
    public void IsTheNormOfTheDifferenceOverTheNorm()
    {
        Assert.That(ErrorRatio.Of([3, 5], [3, 4]), Is.EqualTo(0.2).Within(1e-12));
        Assert.That(ErrorRatio.Of([0, 0], [0, 0]), Is.Zero);
        Assert.That(ErrorRatio.Of([1, 0], [0, 0]), Is.EqualTo(double.PositiveInfinity));
        Assert.Throws<ArgumentException>(() => ErrorRatio.Of([1], [1, 2]));
        Assert.Throws<ArgumentException>(() => ErrorRatio.Of([], []));
    }

    [TestCase(float.NaN, 1f)]
    [TestCase(1f, float.NaN)]
    [TestCase(float.NaN, float.NaN)]
    [TestCase(float.PositiveInfinity, float.PositiveInfinity)]
    [TestCase(1.1f, 1f)]
    public void WhatIsFarOrNotFiniteNeverPasses(float actual, float expected)
    {
        using (new NUnit.Framework.Internal.TestExecutionContext.IsolatedContext())
        {
            Assert.Throws<AssertionException>(() => ErrorRatio.AssertClose([actual, 1], [expected, 1], 1e-2, "x"));
        }
    }

    [Test]
    public void WhatIsClosePasses() => ErrorRatio.AssertClose([1.001f, 1], [1, 1], 1e-2, "x");
}
