using Fla.Testing;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class RandomTensorsTests(TestDevice device) : NnTests(device)
{
    /// <summary>Philox 4x32-10 as the paper writes it.</summary>
    private static uint[] Philox(uint[] counter, ulong seed)
    {
        uint[] c = [.. counter];
        var (k0, k1) = ((uint)seed, (uint)(seed >> 32));
        for (var i = 0; i < 10; i++)
        {
            ulong a = 0xD2511F53ul * c[0], b = 0xCD9E8D57ul * c[2];
            c = [(uint)(b >> 32) ^ c[1] ^ k0, (uint)b, (uint)(a >> 32) ^ c[3] ^ k1, (uint)a];
            (k0, k1) = (k0 + 0x9E3779B9, k1 + 0xBB67AE85);
        }
        return c;
    }

    private static uint Word(ulong seed, ulong n) => Philox([(uint)(n / 4), (uint)(n / 4 >> 32), 0, 0], seed)[n % 4];

    /// <summary>The vectors that come with the authors' code.</summary>
    [Test]
    public void TheReferenceHasTheKnownAnswers()
    {
        Assert.That(Philox([0, 0, 0, 0], 0), Is.EqualTo(new uint[] { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 }));
        Assert.That(Philox([~0u, ~0u, ~0u, ~0u], ~0ul), Is.EqualTo(new uint[] { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd }));
        Assert.That(Philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], 0x299f31d0a4093822),
            Is.EqualTo(new uint[] { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 }));
    }

    [TestCase(0ul, 0ul)]
    [TestCase(0x299f31d0a4093822ul, 1ul)]
    [TestCase(42ul, 0x3_FFFF_FFFEul)]
    [TestCase(ulong.MaxValue, 0x123_4567_89AB_CDEFul)]
    public void BitsAreTheStream(ulong seed, ulong offset)
    {
        var expected = Enumerable.Range(0, 3 * 341).Select(i => (int)Word(seed, offset + (ulong)i)).ToArray();
        Assert.That(RandomTensors.Bits(Device, seed, offset, 3, 341).ToInt32(), Is.EqualTo(expected));
    }

    [Test]
    public void UniformNumbersAreExact()
    {
        const float low = -0.3f, high = 1.7f;
        var expected = Enumerable.Range(0, 1001).Select(i => low + ((high - low) * ((Word(7, 5 + (ulong)i) >> 8) / 16777216f))).ToArray();
        Assert.That(RandomTensors.Uniform(Device, DType.Float32, 7, 5, [1001], low, high).ToSingle(), Is.EqualTo(expected));
        foreach (var type in FloatTypes)
        {
            var stored = Make(expected, [1001], type).ToSingle();
            Assert.That(RandomTensors.Uniform(Device, type, 7, 5, [1001], low, high).ToSingle(), Is.EqualTo(stored), type.ShortName());
        }
    }

    [Test]
    public void NormalNumbersAreBoxMuller([ValueSource(nameof(FloatTypes))] DType type)
    {
        const float mean = 0.5f, std = 2;
        float Expected(ulong n)
        {
            double u = ((Word(9, n & ~1ul) >> 8) + 0.5) / 16777216, turns = Word(9, n | 1) / 4294967296.0;
            var radius = Math.Sqrt(-2 * Math.Log(u));
            return (float)(mean + (std * radius * (n % 2 == 0 ? Math.Cos(2 * Math.PI * turns) : Math.Sin(2 * Math.PI * turns))));
        }
        var expected = Enumerable.Range(0, 4097).Select(i => Expected(3 + (ulong)i)).ToArray();
        ErrorRatio.AssertClose(RandomTensors.Normal(Device, type, 9, 3, [4097], std, mean).ToSingle(), expected, type == DType.Float32 ? 1e-6 : Tolerance(type), "normal");
    }

    [Test]
    public void NormalNumbersHaveTheirMoments()
    {
        const int count = 1 << 18;
        var x = RandomTensors.Normal(Device, DType.Float32, 1, 0, [count]).ToSingle();
        double mean = x.Average(v => (double)v), variance = x.Average(v => (double)v * v), fourth = x.Average(v => Math.Pow(v, 4));
        // Five standard errors each: 1/√n, √2/√n, √96/√n.
        var unit = 5 / Math.Sqrt(count);
        Assert.That(mean, Is.EqualTo(0).Within(unit));
        Assert.That(variance, Is.EqualTo(1).Within(Math.Sqrt(2) * unit));
        Assert.That(fourth, Is.EqualTo(3).Within(Math.Sqrt(96) * unit));
    }

    [Test]
    public void AnOffsetContinuesTheStream()
    {
        var whole = RandomTensors.Normal(Device, DType.Float32, 11, 0, [100]).ToSingle();
        foreach (var offset in new[] { 1, 2, 3, 4, 37 })
        {
            Assert.That(RandomTensors.Normal(Device, DType.Float32, 11, (ulong)offset, [100 - offset]).ToSingle(), Is.EqualTo(whole[offset..]), $"{offset}");
        }
        Assert.That(RandomTensors.Normal(Device, DType.Float32, 12, 0, [100]).ToSingle(), Is.Not.EqualTo(whole));
    }

    [Test]
    public void NoNumbersAreFineAndIntegersATypedError()
    {
        Assert.That(RandomTensors.Uniform(Device, DType.Float16, 1, 1, [0, 3]).Count, Is.Zero);
        Assert.That(() => RandomTensors.Uniform(Device, DType.Int32, 1, 1, [3]), Throws.TypeOf<DTypeException>());
        Assert.That(() => RandomTensors.Normal(Device, DType.Int64, 1, 1, [3]), Throws.TypeOf<DTypeException>());
        Assert.That(() => RandomTensors.Normal(Device, DType.Float32, 1, 1, [-3]), Throws.TypeOf<ShapeException>());
    }
}
