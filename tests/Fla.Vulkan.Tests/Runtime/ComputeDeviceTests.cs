using Fla.Testing;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Runtime;

public sealed class ComputeDeviceTests
{
    private static readonly DeviceOptions NoCache = DeviceOptions.FromEnvironment() with { PipelineCacheFolder = "" };

    [Test]
    public void TwoDevicesInOneProcessWork()
    {
        using var first = ComputeDevice.Create(NoCache);
        using var second = ComputeDevice.Create(NoCache with { Disable = ["cooperative_matrix"] });
        using var a = Tensor.From(first, [1, 2], [2]);
        using var b = Tensor.From(second, [3, 4], [2]);
        using var a16 = a.To(DType.Float16);
        using var b16 = b.To(DType.Float16);
        Assert.That(a16.ToSingle(), Is.EqualTo(new float[] { 1, 2 }));
        Assert.That(b16.ToSingle(), Is.EqualTo(new float[] { 3, 4 }));
        Assert.That(() => a.CopyFrom(b), Throws.TypeOf<DeviceException>());
    }

    [Test]
    public void NothingOutlivesItsOwner()
    {
        var device = ComputeDevice.Create(NoCache);
        var x = Tensor.Full(device, DType.Float32, 1, 1000);
        Assert.That(device.Memory.Used, Is.GreaterThanOrEqualTo(4000));
        x.Dispose();
        Assert.That(device.Memory.Used, Is.Zero);
        Assert.That(device.Memory.Held, Is.GreaterThan(0), "cached");
        device.TrimMemory();
        Assert.That(device.Memory.Held, Is.Zero);
        var forgotten = Tensor.Full(device, DType.Float32, 1, 1000);
        device.Dispose();
        device.Dispose();
        Assert.That(() => Tensor.Zeros(device, DType.Float32, 1), Throws.TypeOf<ObjectDisposedException>());
        forgotten.Dispose();
        // The validation layers, where they are on, report every object that outlives the device.
        Assert.That(ComputeDevice.TryTakeValidationMessage(out var message), Is.False, message);
    }

    [Test]
    public void AnUnknownDeviceIsATypedErrorThatListsWhatIsThere()
    {
        Assert.That(() => ComputeDevice.Create(NoCache with { Select = "no such card" }),
            Throws.TypeOf<DeviceException>().With.Message.Contains(DeviceInfo.All()[0].Name));
        Assert.That(() => ComputeDevice.Create(NoCache with { Select = "999" }), Throws.TypeOf<DeviceException>());
    }

    [Test]
    public void DevicesAreOrderedAndSelectable()
    {
        var all = DeviceInfo.All();
        Assert.That(all.Where(d => d.Usable).Select(d => d.Kind), Is.Ordered);
        using var byName = ComputeDevice.Create(NoCache with { Select = all[0].Name[..5] });
        Assert.That(byName.Name, Is.EqualTo(all[0].Name));
        using var byIndex = ComputeDevice.Create(NoCache with { Select = "0" });
        Assert.That(byIndex.Name, Is.EqualTo(all[0].Name));
    }

    [Test]
    public void SwitchedOffFeaturesSayWhy()
    {
        using var device = ComputeDevice.Create(NoCache with { Disable = ["cooperative_matrix"] });
        Assert.That(device.MatrixShape(DType.Float16), Is.Null);
        Assert.That(device.Features.Notes, Has.Some.Contains("cooperative matrices"));
    }

    [Test]
    public void UploadsWorkWithoutHostImport()
    {
        using var device = ComputeDevice.Create(NoCache with { Disable = ["external_memory_host", "memory_budget"] });
        var values = Enumerable.Range(0, 10_000_000).Select(i => (float)i).ToArray();
        using var x = Tensor.From(device, values, [10_000_000]);
        Assert.That(x.ToSingle().AsSpan().SequenceEqual(values));
    }

    [Test]
    public void ALostDeviceIsATypedErrorAndCanBeDisposed()
    {
        var device = ComputeDevice.Create(NoCache);
        var x = Tensor.Full(device, DType.Float32, 1, 8);
        device.Synchronize();
        Assert.That(() => device.Check(Silk.NET.Vulkan.Result.ErrorDeviceLost, "vkQueueSubmit2"),
            Throws.TypeOf<DeviceLostException>().With.Message.Contains(device.Name));
        x.Dispose();
        device.Dispose();
    }

    [Test]
    public void OutOfMemoryTellsTheNumbersAndTheDeviceGoesOn()
    {
        using var device = ComputeDevice.Create(NoCache with { MemoryLimit = 1 << 20 });
        using var x = Tensor.Zeros(device, DType.Float32, 1 << 17);
        var error = Assert.Throws<GpuOutOfMemoryException>(() => Tensor.Zeros(device, DType.Float32, 1 << 18));
        Assert.That(error!.Requested, Is.EqualTo(1 << 20));
        Assert.That(error.Used, Is.EqualTo(1 << 19));
        Assert.That(x.ToSingle(), Is.All.Zero);
    }

    [Test]
    public void ThePipelineCacheIsWrittenAndRead()
    {
        var folder = Directory.CreateTempSubdirectory().FullName;
        try
        {
            for (var i = 0; i < 2; i++)
            {
                using var device = ComputeDevice.Create(NoCache with { PipelineCacheFolder = folder });
                using var x = Tensor.Full(device, DType.Float32, 2, 8);
                Assert.That(x.ToSingle(), Is.All.EqualTo(2f));
            }
            Assert.That(Directory.GetFiles(folder, "*.bin"), Has.Length.EqualTo(1));
            File.WriteAllBytes(Directory.GetFiles(folder)[0], [1, 2, 3]);
            using var broken = ComputeDevice.Create(NoCache with { PipelineCacheFolder = folder });
            using var y = Tensor.Full(broken, DType.Float32, 3, 8);
            Assert.That(y.ToSingle(), Is.All.EqualTo(3f), "a broken cache file is no obstacle");
            while (ComputeDevice.TryTakeValidationMessage(out _)) { }
        }
        finally { Directory.Delete(folder, recursive: true); }
    }
}
