using Fla.Testing;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Memory;

public sealed class MemoryPoolTests(TestDevice device) : DeviceTests(device)
{
    private readonly record struct CastArgs(In X, InOut Y, uint N, uint XType, uint YType, uint Mode, float S);

    [Test]
    public void RangesAreReusedAndNeverOverlap()
    {
        var random = new Random(3);
        var live = new List<(Tensor Tensor, float Value)>();
        for (var i = 0; i < 300; i++)
        {
            if (live.Count > 20 || (live.Count > 0 && random.Next(2) == 0))
            {
                var at = random.Next(live.Count);
                if (i % 5 == 0) Assert.That(live[at].Tensor.ToSingle(), Is.All.EqualTo(live[at].Value));
                live[at].Tensor.Dispose();
                live.RemoveAt(at);
            }
            else live.Add((Tensor.Full(Device, DType.Float32, i, random.Next(1, 3000)), i));
        }
        foreach (var (tensor, value) in live) Assert.That(tensor.ToSingle(), Is.All.EqualTo(value));
        Assert.That(Device.Memory.Held, Is.LessThan(200L << 20));
    }

    [Test]
    public void FreshMemoryIsPoisonedInThatMode()
    {
        if (!Device.Options.PoisonMemory) Assert.Ignore("this device is opened without poison");
        Assert.That(Tensor.Empty(Device, DType.Float32, 100).ToSingle(), Is.All.NaN);
        Assert.That(Tensor.Empty(Device, DType.BFloat16, 100).ToSingle(), Is.All.NaN);
    }

    [Test]
    public void AWriteOutOfBoundsIsFound()
    {
        using var own = ComputeDevice.Create(DeviceOptions.FromEnvironment() with { PoisonMemory = true, PipelineCacheFolder = "" });
        var x = Tensor.Zeros(own, DType.Float32, 64);
        own.CheckMemory();
        new Kernel<CastArgs>("tensor/cast").Launch(own, new(default, x, 80, 0, 0, 2, 1), new(1), null, 256);
        Assert.That(own.CheckMemory, Throws.TypeOf<MemoryCorruptionException>());
        Assert.That(x.Dispose, Throws.TypeOf<MemoryCorruptionException>());
    }
}
