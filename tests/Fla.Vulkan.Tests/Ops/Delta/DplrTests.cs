using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Delta;

public sealed class DplrTests(TestDevice device) : DeviceTests(device)
{
    private static IEnumerable<DeltaCase> Cases()
    {
        var usual = new DeltaCase();
        yield return usual;
        yield return usual with { HasStates = false, Scale = 0.3 };
        yield return usual with { B = 1, T = 15, K = 60, V = 100, H = 1 };
        yield return usual with { B = 1, T = 40, H = 1, K = 128, V = 66 };
        yield return usual with { Normalizer = 0.01 };
        yield return usual with { Normalizer = 10 };
        yield return usual with { B = 1, T = 97, Packed = [0, 1, 17, 80, 80, 97] };
        yield return usual with { Type = DType.Float16 };
        yield return usual with { Type = DType.BFloat16, GateType = DType.BFloat16 };
    }

    private static RefResult Expected(DeltaCase c, bool decays = true, bool reverse = false) => c.Expect($"dplr {decays} {reverse}", () => new DplrRecurrence
    {
        Q = c["q"], K = c["k"], V = c["v"], A = c["a"], B = c["dplr b"], Gk = decays ? c["gk"] : null, Scale = c.Scale, InitialState = c.InitialState,
        CuSeqlens = c.Packed, Reverse = reverse, OutputGradient = c.OutputGradient, FinalStateGradient = c.FinalGradient,
    }.Run());

    [TestCaseSource(nameof(Cases))]
    public void ChunkIsTheRecurrence(object of) => Chunk((DeltaCase)of, 16);

    [TestCase(32)]
    [TestCase(64)]
    public void ChunkLengthChangesNothing(int chunk) => Chunk(new DeltaCase { B = 1, T = 75, Packed = [0, 33, 75] }, chunk);

    private void Chunk(DeltaCase c, int chunk) =>
        c.Check(Device, Expected(c), ["a", "dplr b/b", "gk"], (x, h0, packed) => DeltaOps.ChunkDplrDeltaRule(x("q"), x("k"), x("v"), x("a"), x("b"), x("gk"),
            (float?)c.Scale, h0, c.HasStates, packed, chunk));

    [TestCaseSource(nameof(Cases))]
    public void RecurrentIsTheRecurrence(object of) => Recurrent((DeltaCase)of, hasGradients: false);

    [Test]
    public void RecurrentHasGradients() => Recurrent(new DeltaCase(B: 1, T: 18));

    [Test]
    public void RecurrentRunsBackwards() => Recurrent(new DeltaCase(B: 1, T: 40) { Packed = [0, 7, 7, 40] }, reverse: true, hasGradients: false);

    private void Recurrent(DeltaCase c, bool reverse = false, bool hasGradients = true) =>
        (c with { HasGradients = hasGradients }).Check(Device, Expected(c, reverse: reverse), ["a", "dplr b/b", "gk"], (x, h0, packed) =>
            DeltaOps.FusedRecurrentDplrDeltaRule(x("q"), x("k"), x("v"), x("a"), x("b"), x("gk"), (float?)c.Scale, h0, c.HasStates, reverse, packed));

    [TestCase(DType.Float32)]
    [TestCase(DType.Float16)]
    public void IplrIsTheRecurrence(DType type)
    {
        var c = new DeltaCase { Type = type };
        var expected = Expected(c, decays: false);
        c.Check(Device, expected, ["a", "dplr b/b"], (x, h0, packed) => DeltaOps.ChunkIplrDeltaRule(x("q"), x("k"), x("v"), x("a"), x("b"), null, h0, true, packed));
        c.Check(Device, expected, ["a", "dplr b/b"], (x, h0, packed) => DeltaOps.FusedRecurrentIplrDeltaRule(x("q"), x("k"), x("v"), x("a"), x("b"), null, h0, true, packed));
    }

    [Test]
    public void BackwardScanHasNoGradients()
    {
        var q = Tensor.Zeros(Device, DType.Float32, 1, 4, 2, 8);
        q.RequiresGrad = true;
        Assert.That(() => DeltaOps.FusedRecurrentDplrDeltaRule(q, q, q, q, q, q, reverse: true), Throws.TypeOf<AutogradException>().With.Message.Contains("reverse"));
    }

    [Test]
    public void WrongArgumentsAreNamed()
    {
        Tensor q = Tensor.Zeros(Device, DType.Float32, 1, 4, 2, 8), v = Tensor.Zeros(Device, DType.Float32, 1, 4, 2, 6);
        Tensor wide = Tensor.Zeros(Device, DType.Float32, 1, 1, 1, 257), more = Tensor.Zeros(Device, DType.Float32, 1, 4, 4, 6);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(() => DeltaOps.FusedRecurrentDplrDeltaRule(q, q, v, v, q, q), Throws.TypeOf<ShapeException>().With.Message.Contains("a needs the shape"));
            Assert.That(() => DeltaOps.FusedRecurrentDplrDeltaRule(q, q, v, q, q.To(DType.Float16), q), Throws.TypeOf<DTypeException>().With.Message.Contains("b needs"));
            Assert.That(() => DeltaOps.FusedRecurrentDplrDeltaRule(q, q, v, q, q, v), Throws.TypeOf<ShapeException>().With.Message.Contains("gk needs the shape"));
            Assert.That(() => DeltaOps.ChunkDplrDeltaRule(wide, wide, wide, wide, wide, null), Throws.TypeOf<ShapeException>().With.Message.Contains("256 channels"));
            Assert.That(() => DeltaOps.ChunkDplrDeltaRule(q, q, more, q, q, null), Throws.TypeOf<ShapeException>().With.Message.Contains("v needs the shape [1, 4, 2, 6]"));
            Assert.That(() => DeltaOps.FusedRecurrentIplrDeltaRule(q, q, v, q, q, scale: -1), Throws.TypeOf<ArgumentOutOfRangeException>());
        }
    }
}
