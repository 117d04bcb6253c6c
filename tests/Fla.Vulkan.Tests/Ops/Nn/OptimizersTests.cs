using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class OptimizersTests(TestDevice device) : NnTests(device)
{
    private static readonly AdamWSettings Settings = new(0.9, 0.95, 1e-8, 0.1);

    [Test]
    public void StepsFollowTheFormula([Values(1000, 37)] int n)
    {
        RefTensor p = Inputs.Normal(1, n), m = RefTensor.Zeros(n), v = RefTensor.Zeros(n);
        Tensor param = Constant(p, DType.Float32), mean = Tensor.Zeros(Device, DType.Float32, n), square = Tensor.Zeros(Device, DType.Float32, n);
        Tensor step = Tensor.FromInt32(Device, [0], 1), correction = Tensor.Empty(Device, DType.Float32, 2), lr = Make([1e-3f], [1]);
        for (var t = 1; t <= 4; t++)
        {
            var g = Inputs.Normal(10 + t, n);
            var next = Reference.AdamW(p, g, m, v, t, (float)1e-3, Settings.Beta1, Settings.Beta2, Settings.Eps, Settings.WeightDecay);
            Optimizers.Advance(step, correction, Settings);
            Optimizers.AdamWStep(param, Constant(g, DType.Float32), mean, square, lr, correction, Settings);
            (p, m, v) = (next.Output("param"), next.Output("m"), next.Output("v"));
        }
        Assert.That(step.ToInt32(), Is.EqualTo(new[] { 4 }));
        ErrorRatio.AssertClose(param.ToSingle(), p.ToFloats(), 1e-6, "param");
        ErrorRatio.AssertClose(mean.ToSingle(), m.ToFloats(), 1e-6, "m");
        ErrorRatio.AssertClose(square.ToSingle(), v.ToFloats(), 1e-6, "v");
    }

    [Test]
    public void TheFirstUpdateItselfIsRight()
    {
        // The change, not the parameter, is compared: at the first step it is lr times the gradient's sign, whatever its size.
        var g = Inputs.Normal(2, 64);
        Tensor param = Tensor.Zeros(Device, DType.Float32, 64), m = Tensor.Zeros(Device, DType.Float32, 64), v = Tensor.Zeros(Device, DType.Float32, 64);
        Tensor step = Tensor.FromInt32(Device, [0], 1), correction = Tensor.Empty(Device, DType.Float32, 2);
        var settings = new AdamWSettings();
        Optimizers.Advance(step, correction, settings);
        Optimizers.AdamWStep(param, Constant(g, DType.Float32), m, v, Make([0.5f], [1]), correction, settings);
        ErrorRatio.AssertClose(param.ToSingle(), g.Map(x => -0.5 * Math.Sign(x)).ToFloats(), 1e-5, "update");
        ErrorRatio.AssertClose(correction.ToSingle(), [0.1f, 0.001f], 1e-6, "corrections");
    }

    [TestCase(1)]
    [TestCase(50)]
    [TestCase(100_000)]
    public void CorrectionsAtAnyStep(int t)
    {
        Tensor step = Tensor.FromInt32(Device, [t - 1], 1), correction = Tensor.Empty(Device, DType.Float32, 2);
        Optimizers.Advance(step, correction, new(0.9, 0.9999, 1e-8, 0));
        var c = correction.ToSingle();
        Assert.That(c[0], Is.EqualTo(1 - Math.Pow(0.9, t)).Within(1e-4).Percent);
        Assert.That(c[1], Is.EqualTo(1 - Math.Pow(0.9999, t)).Within(1e-4).Percent);
    }

    [Test]
    public void MasterWeightsKeepWhatRoundingLoses([Values(DType.Float16, DType.BFloat16)] DType type)
    {
        const int n = 129;
        RefTensor p = Inputs.Normal(3, n), g = Normal(4, type, n), m = RefTensor.Zeros(n), v = RefTensor.Zeros(n);
        Tensor master = Constant(p, DType.Float32), param = Constant(p, type), mean = Tensor.Zeros(Device, DType.Float32, n), square = Tensor.Zeros(Device, DType.Float32, n);
        Tensor step = Tensor.FromInt32(Device, [0], 1), correction = Tensor.Empty(Device, DType.Float32, 2), lr = Make([1e-4f], [1]);
        for (var t = 1; t <= 20; t++)
        {
            Optimizers.Advance(step, correction, Settings);
            Optimizers.AdamWStep(param, Constant(g, type), mean, square, lr, correction, Settings, master);
            var next = Reference.AdamW(p, g, m, v, t, 1e-4, Settings.Beta1, Settings.Beta2, Settings.Eps, Settings.WeightDecay);
            (p, m, v) = (next.Output("param"), next.Output("m"), next.Output("v"));
        }
        ErrorRatio.AssertClose(master.ToSingle(), p.ToFloats(), 1e-6, "master");
        Assert.That(param.ToBytes(), Is.EqualTo(master.To(type).ToBytes()));
    }

    [Test]
    public void ClippedAndSkippedSteps()
    {
        const int n = 50;
        RefTensor p = Inputs.Normal(5, n), g = Inputs.Normal(6, n);
        Tensor Zeros() => Tensor.Zeros(Device, DType.Float32, n);
        Tensor param = Constant(p, DType.Float32), m = Zeros(), v = Zeros(), step = Tensor.FromInt32(Device, [0], 1), correction = Tensor.Zeros(Device, DType.Float32, 2);
        var lr = Make([0.1f], [1]);
        var bad = Constant(g, DType.Float32);
        bad.Narrow(7, 1).Fill(float.NaN);
        Step(bad, Gradients.ClipNorm([bad], 1));
        Assert.That(param.ToSingle(), Is.EqualTo(p.ToFloats()));
        Assert.That(m.ToSingle(), Is.All.Zero);
        Assert.That(step.ToInt32()[0], Is.Zero);

        var good = Constant(g, DType.Float32);
        Step(good, Gradients.ClipNorm([good], 0.25f));
        var clipped = Reference.ClipGradNorm([g], 0.25).Output("0");
        var expected = Reference.AdamW(p, clipped, RefTensor.Zeros(n), RefTensor.Zeros(n), 1, 0.1f, Settings.Beta1, Settings.Beta2, Settings.Eps, Settings.WeightDecay);
        ErrorRatio.AssertClose(param.ToSingle(), expected.Output("param").ToFloats(), 1e-5, "param");
        ErrorRatio.AssertClose(v.ToSingle(), expected.Output("v").ToFloats(), 1e-5, "v");

        void Step(Tensor grad, Tensor clip)
        {
            Optimizers.Advance(step, correction, Settings, clip);
            Optimizers.AdamWStep(param, grad, m, v, lr, correction, Settings, clip: clip);
        }
    }

    [Test]
    public void ACapturedStepIsReplayedWithAnotherRate()
    {
        const int n = 100;
        RefTensor p = Inputs.Normal(7, n), m = RefTensor.Zeros(n), v = RefTensor.Zeros(n);
        Tensor param = Constant(p, DType.Float32), mean = Tensor.Zeros(Device, DType.Float32, n), square = Tensor.Zeros(Device, DType.Float32, n);
        Tensor step = Tensor.FromInt32(Device, [0], 1), correction = Tensor.Zeros(Device, DType.Float32, 2), lr = Make([0], [1]), grad = Tensor.Zeros(Device, DType.Float32, n);
        using var graph = Device.Stream.Capture(() =>
        {
            using var clip = Gradients.ClipNorm([grad], 1);
            Optimizers.Advance(step, correction, Settings, clip);
            Optimizers.AdamWStep(param, grad, mean, square, lr, correction, Settings, clip: clip);
        });
        for (var t = 1; t <= 3; t++)
        {
            var g = Inputs.Normal(20 + t, n);
            var rate = 0.01f * t;
            lr.Write(new[] { rate });
            grad.Write(g.ToFloats());
            graph.Replay();
            var next = Reference.AdamW(p, Reference.ClipGradNorm([g], 1).Output("0"), m, v, t, rate, Settings.Beta1, Settings.Beta2, Settings.Eps, Settings.WeightDecay);
            (p, m, v) = (next.Output("param"), next.Output("m"), next.Output("v"));
        }
        Assert.That(step.ToInt32()[0], Is.EqualTo(3));
        ErrorRatio.AssertClose(param.ToSingle(), p.ToFloats(), 1e-5, "param");
    }

    [Test]
    public void WrongUseIsATypedError()
    {
        Tensor x = Make([1, 2], [2]), one = Make([1], [1]), half = Make([1, 2], [2], DType.Float16), step = Tensor.FromInt32(Device, [0], 1);
        Assert.Multiple(() =>
        {
            Assert.That(() => Optimizers.AdamWStep(x, one, x, x, one, x, Settings), Throws.TypeOf<ShapeException>());
            Assert.That(() => Optimizers.AdamWStep(x, x, half, x, one, x, Settings), Throws.TypeOf<DTypeException>());
            Assert.That(() => Optimizers.AdamWStep(x, x, x, x, x, x, Settings), Throws.TypeOf<ShapeException>());
            Assert.That(() => Optimizers.AdamWStep(x, x, x, x, one, x, Settings, half), Throws.TypeOf<DTypeException>());
            Assert.That(() => Optimizers.Advance(step, one, Settings), Throws.TypeOf<ShapeException>());
            Assert.That(() => Optimizers.Advance(step, x, Settings with { Beta1 = 1 }), Throws.TypeOf<ShapeException>());
        });
    }
}
