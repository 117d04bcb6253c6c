using Fla.Testing;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class PhiloxTests(TestDevice device) : NnTests(device)
{
    // The known answer of Random123 for a counter and a key of 0.
    [Test]
    public void KnownAnswer()
    {
        uint[] expected = [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8];
        Assert.That(Philox.Uniform(Device, 0, 0, [4]).ToSingle(), Is.EqualTo(expected.Select(u => (u >> 8) / 16777216f)));
    }

    [Test]
    public void OffsetsContinueASequence()
    {
        var whole = Philox.Uniform(Device, 42, 7, [40]).ToSingle();
        Assert.That(Philox.Uniform(Device, 42, 7 + Philox.Counters(24), [13]).ToSingle(), Is.EqualTo(whole[24..37]));
        Assert.That(Philox.Uniform(Device, 43, 7, [40]).ToSingle(), Is.Not.EqualTo(whole));
        Assert.That(Philox.Uniform(Device, 42, (1UL << 32) + 7, [40]).ToSingle(), Is.Not.EqualTo(whole));
    }

    [Test]
    public void MomentsOfBothDistributions()
    {
        const int n = 100_000;
        var normal = Philox.Normal(Device, 1, 0, [n], std: 2, mean: 3).ToSingle().Select(v => (v - 3) / 2.0).ToArray();
        Assert.Multiple(() =>
        {
            Assert.That(normal.Average(), Is.Zero.Within(0.015));
            Assert.That(normal.Average(v => v * v), Is.EqualTo(1).Within(0.02));
            Assert.That(normal.Average(v => v * v * v), Is.Zero.Within(0.05));
            Assert.That(normal.Average(v => v * v * v * v), Is.EqualTo(3).Within(0.15));
            Assert.That(normal.Zip(normal.Skip(1), (a, b) => a * b).Average(), Is.Zero.Within(0.015));
        });
        var uniform = Philox.Uniform(Device, 2, 0, [n], -1, 3).ToSingle();
        Assert.That(uniform, Is.All.InRange(-1, 3));
        Assert.That(uniform.Average(), Is.EqualTo(1).Within(0.02));
        Assert.That(uniform.Average(v => (v - 1) * (v - 1)), Is.EqualTo(16.0 / 12).Within(0.02));
    }

    [Test]
    public void SixteenBitTensors([Values(DType.Float16, DType.BFloat16)] DType type)
    {
        Assert.That(Philox.Normal(Device, 5, 0, [33], type: type).ToSingle(), Is.EqualTo(Philox.Normal(Device, 5, 0, [33]).To(type).ToSingle()));
        Assert.That(() => Philox.FillUniform(Tensor.FromInt32(Device, [1], 1), 0, 0), Throws.TypeOf<DTypeException>());
    }
}
