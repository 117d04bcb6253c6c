using Fla.Cli.Training;
using NUnit.Framework;

namespace Fla.Cli.Tests.Training;

public sealed class PaceTests
{
    private static TimeSpan Seconds(double s) => TimeSpan.FromSeconds(s);

    [Test]
    public void StepsFitTheBudget()
    {
        var pace = new Pace(Seconds(100), steps: null);
        Assert.That(pace.Steps, Is.Zero);
        pace.Measure(10, Seconds(5));
        Assert.That(pace.Steps, Is.EqualTo(200));
        Assert.That(pace.Left, Is.EqualTo(Seconds(95)));
    }

    [Test]
    public void SlowerMachineMeansFewerSteps()
    {
        var pace = new Pace(Seconds(100), steps: null);
        pace.Measure(10, Seconds(5));
        for (var i = 1; i <= 20; i++) pace.Measure(10 + i, Seconds(5 + 2 * i));
        Assert.That(pace.Steps, Is.EqualTo(30 + 27).Within(2));
    }

    [Test]
    public void RunEndsWhenTheBudgetIsSpent()
    {
        var pace = new Pace(Seconds(10), steps: null);
        pace.Measure(4, Seconds(11));
        Assert.That(pace.Steps, Is.EqualTo(4));
        Assert.That(pace.Left, Is.EqualTo(TimeSpan.Zero));
    }

    [Test]
    public void FixedNumberOfStepsStays()
    {
        var pace = new Pace(Seconds(1), steps: 50);
        pace.Measure(10, Seconds(100));
        Assert.That(pace.Steps, Is.EqualTo(50));
        Assert.That(pace.Left, Is.EqualTo(Seconds(400)));
    }

    [Test]
    public void ResumedRunMeasuresItsOwnStepsOnly()
    {
        var pace = new Pace(Seconds(100), steps: 1000);
        pace.Start(900);
        pace.Measure(910, Seconds(5));
        Assert.That(pace.SecondsPerStep, Is.EqualTo(0.5).Within(1e-9));
        Assert.That(pace.Left, Is.EqualTo(Seconds(45)));
    }

    [Test]
    public void SkippedTimeIsNotCountedAsSteps()
    {
        var pace = new Pace(Seconds(100), steps: null);
        pace.Measure(10, Seconds(10));
        pace.Skip(Seconds(30));
        pace.Measure(20, Seconds(40));
        Assert.That(pace.SecondsPerStep, Is.EqualTo(1).Within(1e-9));
        Assert.That(pace.Steps, Is.EqualTo(80));
    }
}
