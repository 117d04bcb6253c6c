using Fla.Testing;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class LossScalingTests(TestDevice device) : DeviceTests(device)
{
    private static readonly LossScale Settings = new(8, 2, 2, 16);

    [Test]
    public void NormAndFactorAreWithoutTheScale()
    {
        var clip = Gradients.ClipNorm([Make([30, 40], [2])], 1, scale: Make([10], [1])).ToSingle();
        Assert.That(clip, Is.EqualTo(new[] { 5f, 0.02f, 0 }).Within(1e-6f));
    }

    [Test]
    public void ScaleGrowsAfterGoodStepsUpToItsLimit()
    {
        var state = LossScaling.NewState(Device, Settings);
        var scales = new List<float>();
        for (var i = 0; i < 5; i++)
        {
            Assert.That(Judge(state, overflows: false), Is.EqualTo(StepVerdict.Counts));
            scales.Add(state.ToSingle()[0]);
        }
        Assert.That(scales, Is.EqualTo(new float[] { 8, 16, 16, 16, 16 }));
    }

    [Test]
    public void ScaleHalvesWithEachOverflowAndTheLowestStopsTheRun()
    {
        var state = LossScaling.NewState(Device, Settings);
        Judge(state, overflows: false);
        Assert.That(Judge(state, overflows: true), Is.EqualTo(StepVerdict.Skipped));
        Assert.That(Judge(state, overflows: true), Is.EqualTo(StepVerdict.Skipped));
        Assert.That(state.ToSingle(), Is.EqualTo(new float[] { 2, 0, 2, 0 }), "scale, good steps, skipped steps, stopped");
        Assert.That(Judge(state, overflows: true), Is.EqualTo(StepVerdict.Stopped));
        Assert.That(Judge(state, overflows: false), Is.EqualTo(StepVerdict.AfterStop));
        Assert.That(state.ToSingle(), Is.EqualTo(new float[] { 2, 0, 2, 1 }));
    }

    [TestCase(float.NaN)]
    [TestCase(float.PositiveInfinity)]
    public void LossThatIsNotFiniteStopsTheRunUnderAnyScale(float loss) =>
        Assert.That(Judge(LossScaling.NewState(Device, Settings), overflows: false, loss), Is.EqualTo(StepVerdict.Stopped));

    [Test]
    public void WithoutScalingAnyOverflowStopsTheRun()
    {
        var state = LossScaling.NewState(Device, LossScale.None);
        Assert.That(Judge(state, overflows: false, settings: LossScale.None), Is.EqualTo(StepVerdict.Counts));
        Assert.That(state.ToSingle()[0], Is.EqualTo(1));
        Assert.That(Judge(state, overflows: true, settings: LossScale.None), Is.EqualTo(StepVerdict.Stopped));
    }

    [Test]
    public void WrongUseIsATypedError()
    {
        Assert.That(() => LossScaling.NewState(Device, new(1, 2, 2, 4)), Throws.TypeOf<ShapeException>());
        Assert.That(() => LossScaling.NewState(Device, new(1, -1, 1, 4)), Throws.TypeOf<ShapeException>());
        Assert.That(() => Gradients.ClipNorm([Make([1], [1])], 1, Make([1, 2], [2])), Throws.TypeOf<ShapeException>());
        var state = LossScaling.NewState(Device, Settings);
        Assert.That(() => LossScaling.Judge(state, Make([1], [1]), Make([1], [1]), Settings), Throws.TypeOf<ShapeException>());
    }

    private StepVerdict Judge(Tensor state, bool overflows, float loss = 1, LossScale? settings = null)
    {
        var clip = Make([1, 1, overflows ? 1 : 0], [3]);
        LossScaling.Judge(state, clip, Make([loss], [1]), settings ?? Settings);
        return (StepVerdict)clip.ToSingle()[2];
    }
}
