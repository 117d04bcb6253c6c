using Fla.Testing;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Execution;

public sealed class RehearsalTests(TestDevice device) : DeviceTests(device)
{
    [Test]
    public void CountsAreThoseOfTheRealThing()
    {
        using var own = ComputeDevice.Create(Device.Options);
        var rehearsed = own.Stream.Rehearse(_ => Work(own));
        Assert.That((own.Memory.Peak, own.Memory.Held, own.Stream.Dispatches), Is.EqualTo((0, 0, 0)));
        Work(own);
        Assert.That(rehearsed.Peak, Is.EqualTo(own.Memory.Peak).And.GreaterThan(3 << 20));
        Assert.That(rehearsed.PeakHeld, Is.EqualTo(own.Memory.PeakHeld));
        Assert.That((rehearsed.Used, rehearsed.Allocations), Is.EqualTo((0, 0)));
    }

    [Test]
    public void WhatIsReadBackIsZeroAndRealTensorsStayAsTheyAre()
    {
        var x = Make([1, 2], [2]);
        Device.Stream.Rehearse(_ =>
        {
            using var scope = Device.Scope();
            x.Accumulate(Make([5, 5], [2]));
            Assert.That(Elementwise.Add(x, x).ToSingle(), Is.EqualTo(new float[] { 0, 0 }));
        });
        Assert.That(x.ToSingle(), Is.EqualTo(new float[] { 1, 2 }));
    }

    [Test]
    public void FailedRehearsalIsOver()
    {
        Assert.That(() => Device.Stream.Rehearse(_ => throw new InvalidOperationException()), Throws.InvalidOperationException);
        Assert.That(() => Device.Stream.Rehearse(_ => Device.Stream.Rehearse(_ => { })), Throws.TypeOf<CaptureException>());
        Assert.That(() => Device.Stream.Rehearse(_ => Tensor.Empty(Device, DType.Float32, int.MaxValue, 64)), Throws.TypeOf<GpuOutOfMemoryException>());
        Assert.That(Make([3], [1]).ToSingle(), Is.EqualTo(new float[] { 3 }));
    }

    private static void Work(ComputeDevice device)
    {
        using var scope = device.Scope();
        var x = Tensor.Full(device, DType.Float32, 1, 1000, 300);
        x.RequiresGrad = true;
        using var graph = device.Stream.Capture(() =>
        {
            using var inner = device.Scope();
            Autograd.Backward(Reductions.Sum(Elementwise.Mul(x, Elementwise.Exp(x))));
            x.Grad = null;
        });
        graph.Replay();
        for (var i = 1; i < 20; i++)
        {
            using var passing = Elementwise.Add(x.Detach(), x.Detach());
            using var small = Tensor.Zeros(device, DType.Float16, i * 77);
        }
    }
}
