using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Delta;

public sealed class GatedDeltaProductTests(TestDevice device) : DeviceTests(device)
{
    private static IEnumerable<DeltaCase> Cases()
    {
        var usual = new DeltaCase(B: 2, T: 45) { Householders = 2 };
        yield return usual;
        yield return usual with { Householders = 1 };
        yield return usual with { Householders = 3, T = 25, HasStates = false, Scale = 0.3 };
        yield return usual with { B = 1, T = 50, Packed = [0, 1, 20, 20, 50], K = 60, V = 70 };
        yield return usual with { B = 1, T = 20, H = 1, Groups = 2, Householders = 3 };
        yield return usual with { Type = DType.Float16 };
        yield return usual with { Type = DType.BFloat16, GateType = DType.BFloat16 };
    }

    private static RefResult Expected(DeltaCase c, bool decays, bool isNormalized) => c.Expect($"product {decays} {isNormalized}", () => new DeltaRecurrence
    {
        Q = c["q"], K = c["k"], V = c["v"], Beta = c["beta"], G = decays ? c["g"] : null, Householders = c.Householders, UseQkL2Norm = isNormalized, Scale = c.Scale,
        InitialState = c.InitialState, CuSeqlens = c.Packed, OutputGradient = c.OutputGradient, FinalStateGradient = c.FinalGradient,
    }.Run());

    [TestCaseSource(nameof(Cases))]
    public void ChunkIsTheRecurrence(object of) => Chunk((DeltaCase)of, decays: true, isNormalized: false);

    [TestCaseSource(nameof(Cases))]
    public void RecurrentIsTheRecurrence(object of) => Recurrent((DeltaCase)of, decays: true, isNormalized: false, hasGradients: false);

    [TestCase(false, false)]
    [TestCase(true, true)]
    public void MayNotDecayAndNormalizes(bool decays, bool isNormalized)
    {
        var c = new DeltaCase(B: 1, T: 20) { Householders = 2, HasUnitKeys = !isNormalized };
        Chunk(c, decays, isNormalized);
        Recurrent(c, decays, isNormalized);
    }

    private void Recurrent(DeltaCase c, bool decays, bool isNormalized, bool hasGradients = true) =>
        (c with { HasGradients = hasGradients }).Check(Device, Expected(c, decays, isNormalized), ["beta", .. decays ? new[] { "g" } : []], (x, h0, packed) =>
            DeltaOps.FusedRecurrentGatedDeltaProduct(x("q"), x("k"), x("v"), decays ? x("g") : null, x("beta"), c.Householders, (float?)c.Scale, h0, c.HasStates,
                isNormalized, packed));

    private void Chunk(DeltaCase c, bool decays, bool isNormalized) =>
        c.Check(Device, Expected(c, decays, isNormalized), ["beta", .. decays ? new[] { "g" } : []], (x, h0, packed) => DeltaOps.ChunkGatedDeltaProduct(
            x("q"), x("k"), x("v"), decays ? x("g") : null, x("beta"), c.Householders, (float?)c.Scale, h0, c.HasStates, isNormalized, packed));

    [Test]
    public void CapturedCallReplaysWithOtherBoundaries()
    {
        var c = new DeltaCase(B: 1, T: 30) { Householders = 2, HasGradients = false, HasStates = false };
        Tensor Upload(string name) => DeltaCase.Upload(Device, c[name], DType.Float32);
        Tensor q = Upload("q"), k = Upload("k"), v = Upload("v"), g = Upload("g"), beta = Upload("beta");
        int[] first = [0, 10, 30], second = [0, 17, 30];
        using var packed = new CuSeqlens(Device, first);
        DeltaOps.ChunkGatedDeltaProduct(q, k, v, g, beta, 2, cuSeqlens: packed);
        Tensor o = null!;
        using var graph = Device.Stream.Capture(() => o = DeltaOps.ChunkGatedDeltaProduct(q, k, v, g, beta, 2, cuSeqlens: packed).O);
        foreach (var boundaries in new[] { first, second })
        {
            packed.Set(boundaries);
            graph.Replay();
            var at = c with { Packed = boundaries };
            DeltaCase.Compare("o", o, Expected(at, decays: true, isNormalized: false).O, c.ForwardTolerance);
        }
        o.Dispose();
    }

    [Test]
    public void WrongArgumentsAreNamed()
    {
        Tensor q = Tensor.Zeros(Device, DType.Float32, 1, 4, 2, 8), k = Tensor.Zeros(Device, DType.Float32, 1, 8, 2, 8), beta = Tensor.Zeros(Device, DType.Float32, 1, 8, 2);
        using var packed = new CuSeqlens(Device, 0, 8);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(() => DeltaOps.ChunkGatedDeltaProduct(q, k, k, null, beta, 3), Throws.TypeOf<ShapeException>().With.Message.Contains("k has 3 rows a token"));
            Assert.That(() => DeltaOps.ChunkGatedDeltaProduct(q, k, k, null, beta, 4), Throws.TypeOf<ShapeException>().With.Message.Contains("q needs the shape [1, 2, 2, 8]"));
            Assert.That(() => DeltaOps.ChunkGatedDeltaProduct(q, k, k, beta, beta, 2), Throws.TypeOf<ShapeException>().With.Message.Contains("g needs the shape [1, 4, 2]"));
            Assert.That(() => DeltaOps.ChunkGatedDeltaProduct(q, k, k, null, beta, 0), Throws.TypeOf<ShapeException>().With.Message.Contains("numHouseholder"));
            Assert.That(() => DeltaOps.ChunkGatedDeltaProduct(q, k, k, null, beta, 2, cuSeqlens: packed), Throws.TypeOf<ShapeException>().With.Message.Contains("cuSeqlens"));
        }
    }
}
