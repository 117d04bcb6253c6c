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

    [Test]
    public void ManyGradientsOfAllSizesAndTypesAreTakenTogether()
    {
        int[] sizes = [1, 3, 4, 0, 65535, 65536, 65537, 131071, 131072, 200_002, 5, 1000, 8, 2, 77, 1024, 9, 300_001];
        var grads = sizes.Select((size, i) => Normal(i + 1, FloatTypes[i % FloatTypes.Length], size)).ToList();
        var expected = Math.Sqrt(grads.Sum(g => g.Data.Sum(x => x * x)));
        var clip = Gradients.ClipNorm([.. grads.Select((g, i) => Constant(g, FloatTypes[i % FloatTypes.Length]))], 1).ToSingle();
        Assert.That(clip[0], Is.EqualTo(expected).Within(1e-5 * expected));

        // One that begins where no four can be loaded at once.
        var odd = Constant(grads[9], DType.Float32).Narrow(1, 200_000);
        Assert.That(Gradients.ClipNorm([odd], 1).ToSingle()[0], Is.EqualTo(Math.Sqrt(grads[9].Data[1..200_001].Sum(x => (double)(float)x * (float)x))).Within(1e-2));
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
