using System.Text.Json;
using Fla.Testing;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Execution;

public sealed class ComputeStreamTests(TestDevice device) : DeviceTests(device)
{
    [Test]
    public void DependentWorkIsOrdered()
    {
        var x = Tensor.Zeros(Device, DType.Float32, 1 << 16);
        var y = Tensor.Full(Device, DType.Float32, 1, 1 << 16);
        for (var i = 0; i < 20; i++)
        {
            x.Accumulate(y);
            y.CopyFrom(x);
        }
        Assert.That(y.ToSingle(), Is.All.EqualTo(524288f));
    }

    [Test]
    public void IndependentWorkNeedsNoBarrier()
    {
        // The plain device fills fresh memory with poison, which are commands of their own: all is made before.
        var inputs = Enumerable.Range(0, 8).Select(i => Tensor.Full(Device, DType.Float32, i, 16)).ToArray();
        var outputs = inputs.Select(i => Tensor.Zeros(Device, DType.Float32, 16)).ToArray();
        Device.Synchronize();
        var before = Device.Stream.Barriers;
        for (var i = 0; i < inputs.Length; i++) outputs[i].Accumulate(inputs[i]);
        Assert.That(Device.Stream.Barriers - before, Is.EqualTo(1), "the one that opens the batch");
        outputs[1].Accumulate(outputs[0]);
        Assert.That(Device.Stream.Barriers - before, Is.EqualTo(2), "one for the dependence");
        Assert.That(outputs[1].ToSingle(), Is.All.EqualTo(1f));
    }

    [Test]
    public void AProfileTimesEveryDispatchAndWritesATrace()
    {
        if (Device.Limits.TimestampPeriod == 0) Assert.Ignore($"{Device.Name} has no timestamps");
        var x = Tensor.Zeros(Device, DType.Float32, 1 << 20);
        var y = Tensor.Zeros(Device, DType.Float32, 1 << 20);
        var path = Path.GetTempFileName();
        try
        {
            using (var profile = Device.Stream.StartProfile())
            {
                for (var i = 0; i < 100; i++) x.Accumulate(y);
                profile.WriteChromeTrace(path);
                Assert.That(profile.Entries, Has.Count.EqualTo(100));
                Assert.That(profile.Entries.Select(e => e.Duration), Is.All.GreaterThan(0));
                Assert.That(profile.Totals().Single().Kernel, Does.StartWith("tensor/cast"));
            }
            using var trace = JsonDocument.Parse(File.ReadAllText(path));
            Assert.That(trace.RootElement.GetProperty("traceEvents").GetArrayLength(), Is.EqualTo(100));
        }
        finally { File.Delete(path); }
    }
}
