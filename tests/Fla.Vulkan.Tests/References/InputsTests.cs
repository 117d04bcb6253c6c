using Fla.Testing.References;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.References;

[TestFixture]
public sealed class InputsTests
{
    private const int Count = 20_000;

    [Test]
    public void Normal_HasZeroMeanAndUnitVarianceAndFloatElements()
    {
        RefTensor x = Inputs.Normal(1, Count);
        Assert.That(x.Data.Average(), Is.Zero.Within(0.03));
        Assert.That(x.Data.Average(a => a * a), Is.EqualTo(1).Within(0.05));
        Assert.That(x.Data, Is.EqualTo(x.ToFloats()));
        Assert.That(Inputs.Normal(1, 3).Data, Is.EqualTo(x.Data[..3]), "a seed repeats");
        Assert.That(Inputs.Normal(2, 3).Data, Is.Not.EqualTo(x.Data[..3]), "seeds differ");
    }

    [Test]
    public void LogSigmoidGate_DecaysByTheNormalizerButForTheMasked()
    {
        RefTensor strong = Inputs.LogSigmoidGate(1, [Count], 0.1), weak = Inputs.LogSigmoidGate(1, [Count], 10, 0.25);
        Assert.That(strong.Data, Is.All.LessThanOrEqualTo(0));
        Assert.That(strong.Data.Average(), Is.EqualTo(-8.06).Within(0.2));
        Assert.That(weak.Data.Count(a => a == 0), Is.EqualTo(Count / 4).Within(Count / 50));
    }

    [Test]
    public void UnitVectors_HaveLengthOne()
    {
        double[] x = Inputs.UnitVectors(1, 2, 5).Data;
        Assert.That(x[..5].Sum(a => a * a), Is.EqualTo(1).Within(1e-6));
        Assert.That(x[5..].Sum(a => a * a), Is.EqualTo(1).Within(1e-6));
    }

    [Test]
    public void IdsAndUniform_StayInRange()
    {
        Assert.That(Inputs.Ids(1, 7, Count).Distinct().Order(), Is.EqualTo(Enumerable.Range(0, 7)));
        Assert.That(Inputs.Uniform(1, -2, 3, Count).Data, Is.All.InRange(-2, 3));
    }
}
