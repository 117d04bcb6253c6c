using Fla.Testing;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Execution;

public sealed class CommandGraphTests(TestDevice device) : DeviceTests(device)
{
    [Test]
    public void AReplayReadsNewInputsAndCarriesState()
    {
        var x = Make([1, 2], [2]);
        var state = Tensor.Zeros(Device, DType.Float32, 2);
        Tensor? y = null;
        using var graph = Device.Stream.Capture(() =>
        {
            state.Accumulate(x, 2);
            y = state.Clone();
            y.Accumulate(x);
        });
        for (var i = 0; i < 3; i++)
        {
            x.Write([i, 10f * i]);
            graph.Replay();
        }
        Assert.That(state.ToSingle(), Is.EqualTo(new float[] { 6, 60 }));
        Assert.That(y!.ToSingle(), Is.EqualTo(new float[] { 8, 80 }));
    }

    [Test]
    public void LongCapturesAreSplitAndStayInOrder()
    {
        var x = Tensor.Zeros(Device, DType.Float32, 3);
        var one = Tensor.Full(Device, DType.Float32, 1, 3);
        using var graph = Device.Stream.Capture(() =>
        {
            for (var i = 0; i < 200; i++) x.Accumulate(one);
        });
        Assert.That(graph.Batches, Is.GreaterThan(1));
        graph.Replay();
        graph.Replay();
        Assert.That(x.ToSingle(), Is.EqualTo(new float[] { 400, 400, 400 }));
    }

    [Test]
    public void TemporariesOfACaptureAreNotHandedOutMeanwhile()
    {
        var x = Make([1, 2, 3], [3]);
        Tensor? y = null;
        using var graph = Device.Stream.Capture(() =>
        {
            using var temporary = x.Clone();
            y = temporary.Clone();
        });
        var other = Make([7, 7, 7], [3]);
        graph.Replay();
        Assert.That(other.ToSingle(), Is.EqualTo(new float[] { 7, 7, 7 }));
        Assert.That(y!.ToSingle(), Is.EqualTo(new float[] { 1, 2, 3 }));
    }

    [Test]
    public void InputsStayAliveWithTheGraph()
    {
        var x = Make([5], [1]);
        var y = Tensor.Zeros(Device, DType.Float32, 1);
        using var graph = Device.Stream.Capture(() => y.Accumulate(x));
        x.Dispose();
        using var other = Tensor.Full(Device, DType.Float32, 100, 1);
        graph.Replay();
        Assert.That(y.Item(), Is.EqualTo(5));
    }

    [Test]
    public void WhatCannotBeReplayedIsATypedError()
    {
        var x = Make([5], [1]);
        Assert.That(() => Device.Stream.Capture(() => x.ToSingle()), Throws.TypeOf<CaptureException>());
        Assert.That(() => Device.Stream.Capture(() => x.Write([1f])), Throws.TypeOf<CaptureException>());
        Assert.That(() => Device.Stream.Capture(() => Device.Synchronize()), Throws.TypeOf<CaptureException>());
        Assert.That(() => Device.Stream.Capture(() => Device.Stream.Capture(() => { }).Dispose()), Throws.TypeOf<CaptureException>());
        Assert.That(x.Item(), Is.EqualTo(5), "the stream works on");
        var graph = Device.Stream.Capture(() => x.Fill(1));
        graph.Dispose();
        Assert.That(graph.Replay, Throws.TypeOf<ObjectDisposedException>());
    }
}
