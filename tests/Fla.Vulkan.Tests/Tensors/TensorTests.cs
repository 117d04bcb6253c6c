using Fla.Testing;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Tensors;

public sealed class TensorTests(TestDevice device) : DeviceTests(device)
{
    private static readonly float[] Values = [0, 1, -1.5f, 3.14159f, 65504, 1e-7f, 6.1e-5f, float.PositiveInfinity, -0.333333f];

    [TestCase(DType.Float32)]
    [TestCase(DType.Float16)]
    [TestCase(DType.BFloat16)]
    public void ValuesComeBackRoundedToNearestEven(DType type)
    {
        var onHost = Make(Values, [9], type).ToSingle();
        var onDevice = Make(Values, [9]).To(type).ToSingle();
        Assert.That(onDevice, Is.EqualTo(onHost));
        if (type == DType.Float16) Assert.That(onHost, Is.EqualTo(Values.Select(v => (float)(Half)v)));
    }

    [Test]
    public void EveryHalfSurvivesTheDevice()
    {
        var bits = Enumerable.Range(0, 65536).Select(i => (ushort)i).Where(b => !Half.IsNaN(BitConverter.UInt16BitsToHalf(b))).ToArray();
        var values = bits.Select(b => (float)BitConverter.UInt16BitsToHalf(b)).ToArray();
        var wide = Make(values, [values.Length], DType.Float16).To(DType.Float32);
        Assert.That(wide.ToSingle(), Is.EqualTo(values));
        Assert.That(wide.To(DType.Float16).ToSingle(), Is.EqualTo(values));
    }

    [TestCase(1 << 20)]
    [TestCase((1 << 20) + 4 * 1027)]
    public void LargeCopiesTakeEveryElement(int count)
    {
        var values = Enumerable.Range(0, count).Select(i => (float)i).ToArray();
        using var copy = Make(values, [count], DType.Float32).Clone();
        Assert.That(copy.ToSingle(), Is.EqualTo(values));
    }

    [Test]
    public void RoundingMatchesTheHostForRandomBits()
    {
        var random = new Random(1);
        var values = Enumerable.Range(0, 20000).Select(_ => BitConverter.Int32BitsToSingle(random.Next())).Where(float.IsFinite).ToArray();
        foreach (var type in new[] { DType.Float16, DType.BFloat16 })
        {
            Assert.That(Make(values, [values.Length]).To(type).ToBytes(), Is.EqualTo(Make(values, [values.Length], type).ToBytes()), type.ToString());
        }
    }

    // 20 MB goes through staging in pieces, 60 MB straight from host memory where the driver can.
    [TestCase(5_000_000)]
    [TestCase(15_000_001)]
    public void LargeTensorsCrossWhole(int count)
    {
        var values = Enumerable.Range(0, count).Select(i => (float)i).ToArray();
        Assert.That(Make(values, [count]).ToSingle().AsSpan().SequenceEqual(values));
    }

    [Test]
    public void TheCallersMemoryIsItsOwnAgainAtOnce()
    {
        // In several pieces, of which the device takes one while the next is copied; and more than the staging memory holds at once.
        var values = new float[20 << 20];
        for (var i = 0; i < values.Length; i++) values[i] = i % 1000;
        var given = (float[])values.Clone();
        var x = Tensor.Zeros(Device, DType.Float32, values.Length);
        x.Write(given);
        Array.Clear(given);
        Assert.That(x.ToSingle().AsSpan().SequenceEqual(values));
    }

    [Test]
    public unsafe void SeveralTensorsAreReadTogether()
    {
        // Small ones, two that each fill a batch of staging, and one that takes two.
        int[] counts = [3, 0, 7 << 20, 7 << 20, 9 << 20, 5];
        var tensors = counts.Select((count, i) => Tensor.Full(Device, DType.Float32, i + 1, count)).ToArray();
        var targets = counts.Select(count => new float[count]).ToArray();
        var pins = targets.Select(t => t.AsMemory().Pin()).ToArray();
        try
        {
            Tensor.ReadBytes(tensors, [.. pins.Select(pin => ((nint)pin.Pointer, (HostImport?)null))]);
        }
        finally
        {
            foreach (var pin in pins) pin.Dispose();
        }
        for (var i = 0; i < counts.Length; i++) Assert.That(targets[i].AsSpan().IndexOfAnyExcept(i + 1f), Is.EqualTo(-1), $"tensor {i}");
    }

    [Test]
    public unsafe void ResultsAreLeftInPooledMemory()
    {
        var values = Enumerable.Range(0, 300_000).Select(i => (float)i).ToArray();
        var tensor = Tensor.From(Device, values, [values.Length]);
        var range = Device.HostPool.Take(tensor.ByteCount)!;
        Assert.That(range.Size, Is.InRange(tensor.ByteCount, tensor.ByteCount + (1 << 16)));
        Assert.That(range.Import, Device.Features.ExternalMemoryHost && !Device.IsMemoryMapped ? Is.Not.Null : Is.Null);
        Tensor.ReadBytes([tensor], [(range.Address, range.Import)]);
        Assert.That(new ReadOnlySpan<float>((void*)range.Address, values.Length).SequenceEqual(values));
        Assert.That(Device.HostPool.Take(range.Size), Is.Not.SameAs(range), "lent once");
        range.Give();
        Assert.That(Device.HostPool.Take(range.Size - 5000), Is.SameAs(range), "used again");
        range.Give();
        var small = Device.HostPool.Take(range.Size / 3)!;
        Assert.That(small, Is.Not.SameAs(range), "not for what is much smaller");
        var held = Device.HostPool.Held;
        Device.TrimMemory();
        Assert.That(Device.HostPool.Held, Is.EqualTo(held - range.Size), "what waits goes back to the system");
        small.Give();
    }

    [Test]
    public unsafe void PooledMemoryOutlivesItsDevice()
    {
        HostRange range, waiting;
        using (var device = ComputeDevice.Create(Device.Options))
        {
            range = device.HostPool.Take(HostPool.Least)!;
            waiting = device.HostPool.Take(HostPool.Least)!;
            waiting.Give();
        }
        Assert.That((range.Import, waiting.Import), Is.EqualTo(((HostImport?)null, (HostImport?)null)));
        new Span<byte>((void*)range.Address, (int)range.Size).Fill(3);
        range.Give();
    }

    [Test]
    public void ViewsAndRowsShareMemory()
    {
        var x = Make([1, 2, 3, 4, 5, 6], [3, 2]);
        x.Narrow(1, 1).Fill(9);
        Assert.That(x.View(2, -1).ToSingle(), Is.EqualTo(new float[] { 1, 2, 9, 9, 5, 6 }));
        Assert.That(x.View(-1).Rank, Is.EqualTo(1));
        Assert.That(() => x.View(4, 2), Throws.TypeOf<ShapeException>());
        Assert.That(() => x.Narrow(2, 2), Throws.TypeOf<ShapeException>());
    }

    [Test]
    public void ADisposedTensorSaysSo()
    {
        var x = Make([1], [1]);
        x.Dispose();
        Assert.That(() => x.ToSingle(), Throws.TypeOf<ObjectDisposedException>());
        Assert.That(() => x.Address, Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public void ScopesDisposeWhatWasNotKept()
    {
        Tensor kept, lost;
        using (var scope = Device.Scope())
        {
            lost = Make([1], [1]);
            kept = scope.Keep(Make([2], [1]));
        }
        Assert.That(lost.IsDisposed);
        Assert.That(kept.ToSingle(), Is.EqualTo(new float[] { 2 }));
    }

    [Test]
    public void WrongUseIsATypedError()
    {
        Assert.That(() => Make([1, 2], [3]), Throws.TypeOf<ShapeException>());
        Assert.That(() => Tensor.Empty(Device, DType.Float32, -1), Throws.TypeOf<ShapeException>());
        Assert.That(() => Tensor.Empty(Device, DType.Float32, int.MaxValue, int.MaxValue, int.MaxValue), Throws.TypeOf<ShapeException>());
        Assert.That(() => Tensor.FromInt32(Device, [1], 1).ToSingle(), Throws.TypeOf<DTypeException>());
        Assert.That(() => Tensor.FromInt32(Device, [1], 1).Fill(1), Throws.TypeOf<DTypeException>());
        Assert.That(() => Tensor.Empty(Device, DType.Float32, 1 << 30, 1 << 10), Throws.TypeOf<GpuOutOfMemoryException>());
    }

    [Test]
    public void EmptyTensorsWork()
    {
        var x = Tensor.Zeros(Device, DType.Float32, 0, 4);
        x.Fill(1);
        Assert.That(x.ToSingle(), Is.Empty);
        Assert.That(x.To(DType.Float16).Count, Is.Zero);
    }
}
