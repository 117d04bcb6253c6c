using Fla.Models.Training;
using NUnit.Framework;

namespace Fla.Models.Tests.Training;

public sealed class LearningRateScheduleTests
{
    private static LearningRateSchedule Schedule(ScheduleKind kind) => new() { Kind = kind, Peak = 2, Steps = 100, WarmupSteps = 9, MinRatio = 0.1, DecayRatio = 0.2 };

    [Test]
    public void WarmupRisesToThePeak([Values] ScheduleKind kind)
    {
        var schedule = Schedule(kind);
        Assert.That(schedule.At(0), Is.EqualTo(0.2).Within(1e-12));
        Assert.That(schedule.At(8), Is.EqualTo(1.8).Within(1e-12));
        Assert.That(schedule.At(9), Is.EqualTo(2).Within(1e-12));
    }

    [TestCase(ScheduleKind.Constant, 54.5, 2)]
    [TestCase(ScheduleKind.Linear, 54.5, 1.1)]
    [TestCase(ScheduleKind.Cosine, 54.5, 1.1)]
    [TestCase(ScheduleKind.Wsd, 80, 2)]
    [TestCase(ScheduleKind.Wsd, 90, 1.1)]
    public void MiddleIsWhereTheKindPutsIt(ScheduleKind kind, double step, double expected)
    {
        var schedule = Schedule(kind);
        var between = (schedule.At((long)Math.Floor(step)) + schedule.At((long)Math.Ceiling(step))) / 2;
        Assert.That(between, Is.EqualTo(expected).Within(1e-9));
    }

    [TestCase(ScheduleKind.Linear)]
    [TestCase(ScheduleKind.Cosine)]
    [TestCase(ScheduleKind.Wsd)]
    public void EndsAtTheFloorAndStaysThere(ScheduleKind kind)
    {
        var schedule = Schedule(kind);
        Assert.That(schedule.At(100), Is.EqualTo(0.2).Within(1e-12));
        Assert.That(schedule.At(100_000), Is.EqualTo(0.2).Within(1e-12));
        Assert.That(Enumerable.Range(9, 91).Select(i => schedule.At(i)), Is.Ordered.Descending);
    }

    [Test]
    public void CosineIsSlowAtBothEnds()
    {
        var schedule = Schedule(ScheduleKind.Cosine);
        Assert.That(schedule.At(9) - schedule.At(19), Is.LessThan((schedule.At(50) - schedule.At(60)) / 3));
    }

    [Test]
    public void ImpossibleNumbersAreRefused()
    {
        var good = Schedule(ScheduleKind.Cosine);
        Assert.That(good.Validate, Throws.Nothing);
        LearningRateSchedule[] bad =
        [
            good with { Peak = 0 }, good with { Peak = double.NaN }, good with { Steps = 0 }, good with { WarmupSteps = 101 }, good with { MinRatio = 2 },
            good with { DecayRatio = -1 },
        ];
        foreach (var schedule in bad) Assert.That(schedule.Validate, Throws.TypeOf<TrainingException>());
    }
}
