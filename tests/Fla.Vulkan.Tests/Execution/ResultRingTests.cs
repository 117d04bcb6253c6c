using Fla.Testing;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Execution;

public sealed class ResultRingTests(TestDevice device) : DeviceTests(device)
{
    [Test]
    public void EachSlotHoldsItsRepetition()
    {
        using var ring = new ResultRing(Device, 3, 2);
        var sum = Make([0, 10], [2]);
        var one = Make([1, 1], [2]);
        using var graph = Device.Stream.Capture(() => sum.Accumulate(one));
        for (var round = 0; round < 2; round++)
        {
            for (var slot = 0; slot < 3; slot++)
            {
                ring.Begin(slot);
                graph.Replay();
                ring.End(slot, sum);
            }
            for (var slot = 0; slot < 3; slot++)
            {
                var n = 3 * round + slot + 1;
                Assert.That(ring.Read(slot), Is.EqualTo(new float[] { n, 10 + n }));
                Assert.That(ring.IsDone(slot));
            }
            var (first, last) = (ring.Times(0), ring.Times(2));
            Assert.That(first.End, Is.GreaterThan(first.Begin));
            Assert.That(last.Begin, Is.GreaterThanOrEqualTo(first.End));
        }
    }

    [Test]
    public void WrongResultsAreTypedErrors()
    {
        using var ring = new ResultRing(Device, 1, 2);
        Assert.That(() => ring.End(0, Make([1], [1])), Throws.TypeOf<ShapeException>());
        Assert.That(() => ring.End(0, Make([1, 2], [2], DType.Float16)), Throws.TypeOf<DTypeException>());
    }
}
