using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class GradientsTests(TestDevice device) : NnTests(device)
{
    [Test]
    public void NormOfAllGradientsAndTheirScaling([Values(1, 1e4)] double maxNorm, [ValueSource(nameof(FloatTypes))] DType type)
    {
        RefTensor[] grads = [Normal(1, type, 40, 30), Normal(2, type, 7), Normal(3, type, 60_001)];
        var expected = Reference.ClipGradNorm(grads, maxNorm);
        var onDevice = grads.Select(g => Constant(g, type)).ToList();
        var clip = Gradients.ClipNorm(onDevice, (float)maxNorm);
        var norm = expected.Output("norm").Data[0];
        ErrorRatio.AssertClose(clip.ToSingle(), [(float)norm, (float)Math.Min(1, maxNorm / (norm + 1e-6)), 0], 1e-5, "norm, factor");
        Gradients.Scale(onDevice, clip);
        for (var i = 0; i < grads.Length; i++) ErrorRatio.AssertClose(onDevice[i].ToSingle(), expected.Output($"{i}").ToFloats(), Tolerance(type), $"gradient {i}");
    }

    [TestCase(float.NaN)]
    [TestCase(float.PositiveInfinity)]
    public void NonFiniteGradientsAreTold(float bad)
    {
        var clip = Gradients.ClipNorm([Make([1, 2], [2]), Make([bad, 0], [2], DType.BFloat16)], 1).ToSingle();
        Assert.That(clip[2], Is.EqualTo(1));
    }

    [Test]
    public void WrongUseIsATypedError()
    {
        Assert.That(() => Gradients.ClipNorm([], 1), Throws.TypeOf<ShapeException>());
        Assert.That(() => Gradients.ClipNorm([Make([1], [1])], 0), Throws.TypeOf<ShapeException>());
        Assert.That(() => Gradients.ClipNorm([Tensor.FromInt32(Device, [1], 1)], 1), Throws.TypeOf<DTypeException>());
        Assert.That(() => Gradients.Scale([], Make([1], [1])), Throws.TypeOf<ShapeException>());
    }
}
