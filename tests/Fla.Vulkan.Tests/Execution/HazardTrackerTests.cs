using NUnit.Framework;

namespace Fla.Vulkan.Tests.Execution;

public sealed class HazardTrackerTests
{
    [TestCase("Read", "Read", false)]
    [TestCase("Write", "Read", true)]
    [TestCase("Read", "Write", true)]
    [TestCase("Write", "Write", true)]
    public void OverlapsNeedABarrierUnlessBothRead(string before, string after, bool expected)
    {
        var (first, second) = (Enum.Parse<Access>(before), Enum.Parse<Access>(after));
        var tracker = new HazardTracker();
        tracker.Touch(100, 50, first);
        Assert.That(tracker.Resolve(), Is.False);
        tracker.Touch(149, 10, second);
        Assert.That(tracker.Resolve(), Is.EqualTo(expected));
    }

    [Test]
    public void NeighboursAndClearedRangesDoNot()
    {
        var tracker = new HazardTracker();
        tracker.Touch(100, 50, Access.Write);
        tracker.Resolve();
        tracker.Touch(150, 50, Access.Write);
        Assert.That(tracker.Resolve(), Is.False);
        tracker.Touch(100, 1, Access.Read);
        Assert.That(tracker.Resolve(), Is.True);
        tracker.Touch(150, 1, Access.Read);
        Assert.That(tracker.Resolve(), Is.False, "the barrier before covers it");
    }
}
