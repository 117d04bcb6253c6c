using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Delta;

public sealed class GatedDeltaRuleTests(TestDevice device) : DeviceTests(device)
{
    private static IEnumerable<DeltaCase> Cases() => DeltaCase.Gated;

    private static IEnumerable<DeltaCase> RawCases() => DeltaCase.Raw;

    private static RefResult Expected(DeltaCase c, bool isRaw = false, bool hasBias = true, bool reachesTwo = false, string gates = "g", string beta = "beta") =>
        c.Expect($"gdn {isRaw} {hasBias} {reachesTwo} {gates} {beta}", () => new DeltaRecurrence
        {
            Q = c["q"], K = c["k"], V = c["v"], Beta = c[beta], G = Has(gates, "g") ? c["g"] : null, Gk = Has(gates, "gk") ? c["gk"] : null,
            Gv = Has(gates, "gv") ? c["gv"] : null, UseQkL2Norm = isRaw, UseGate = isRaw, ALog = isRaw ? c["A_log"] : null,
            DtBias = isRaw && hasBias ? c["bias"] : null, UseBetaSigmoid = isRaw, AllowNegEigval = reachesTwo, Scale = c.Scale, InitialState = c.InitialState,
            CuSeqlens = c.Packed, OutputGradient = c.OutputGradient, FinalStateGradient = c.FinalGradient,
        }.Run());

    private static bool Has(string gates, string name) => gates.Split(',').Contains(name);

    [TestCaseSource(nameof(Cases))]
    public void ChunkIsTheRecurrence(object of) => Chunk((DeltaCase)of);

    [TestCase(16)]
    [TestCase(32)]
    public void ChunkLengthChangesNothing(int chunk) => Chunk(new DeltaCase { B = 1, T = 75, Packed = [0, 33, 75] }, chunk);

    private void Chunk(DeltaCase c, int chunk = 64) =>
        c.Check(Device, Expected(c), ["g", "beta"], (x, h0, packed) => DeltaOps.ChunkGatedDeltaRule(x("q"), x("k"), x("v"), x("g"), x("beta"),
            (float?)c.Scale, h0, c.HasStates, stateVFirst: c.VFirst, cuSeqlens: packed, chunkSize: chunk));

    [TestCaseSource(nameof(Cases))]
    public void RecurrentIsTheRecurrence(object of) => Recurrent((DeltaCase)of, "g", "beta", hasGradients: false);

    [TestCase("g", "beta")]
    [TestCase("gv", "beta")]
    [TestCase("gk,gv", "beta")]
    [TestCase("g,gk", "beta4")]
    [TestCase("g,gk,gv", "beta4")]
    public void RecurrentHasGradientsForAllGates(string gates, string beta) => Recurrent(new DeltaCase(B: 1, T: 18, V: 10) { Groups = 2, H = 1, VFirst = beta == "beta4" }, gates, beta);

    private void Recurrent(DeltaCase c, string gates, string beta, bool hasGradients = true) =>
        (c with { HasGradients = hasGradients }).Check(Device, Expected(c, gates: gates, beta: beta), [.. gates.Split(','), beta + "/beta"], (x, h0, packed) =>
            DeltaOps.FusedRecurrentGatedDeltaRule(x("q"), x("k"), x("v"), Has(gates, "g") ? x("g") : null, Has(gates, "gk") ? x("gk") : null,
                Has(gates, "gv") ? x("gv") : null, x("beta"), (float?)c.Scale, h0, c.HasStates, stateVFirst: c.VFirst, cuSeqlens: packed));

    [TestCaseSource(nameof(RawCases))]
    public void ChunkTakesRawInputs(object of) => ChunkRaw((DeltaCase)of, hasBias: true, reachesTwo: false);

    // Heads of their own: the kernels find the lengths of q and k, and with gradients make rows of length 1.
    [TestCase(70, 32, 24, DType.Float32)]
    [TestCase(50, 70, 37, DType.Float32, 20, 20)]
    [TestCase(40, 200, 24, DType.Float32)]
    [TestCase(70, 40, 100, DType.Float16)]
    [TestCase(128, 128, 64, DType.Float16)]
    public void ChunkFindsLengths(int tokens, int keys, int values, DType type, params int[] ends)
    {
        var c = Raw with { T = tokens, H = 1, K = keys, V = values, Type = type, VFirst = ends.Length > 0, Packed = ends.Length > 0 ? [0, .. ends, tokens] : null };
        foreach (var hasGradients in new[] { false, true }) ChunkRaw(c with { HasGradients = hasGradients }, hasBias: true, reachesTwo: false);
    }

    [Test]
    public void ChunkStepSizesMayReachTwo() => ChunkRaw(Raw, hasBias: false, reachesTwo: true);

    private void ChunkRaw(DeltaCase c, bool hasBias, bool reachesTwo) =>
        c.Check(Device, Expected(c, isRaw: true, hasBias, reachesTwo), RawInputs(hasBias), (x, h0, packed) => DeltaOps.ChunkGatedDeltaRule(
            x("q"), x("k"), x("v"), x("g"), x("beta"), null, h0, true, true, true, x("A_log"), hasBias ? x("dt_bias") : null, true, reachesTwo, c.VFirst, packed));

    [TestCaseSource(nameof(RawCases))]
    public void RecurrentTakesRawInputs(object of) => RecurrentRaw((DeltaCase)of, hasBias: true, reachesTwo: false, hasGradients: false);

    [Test]
    public void RecurrentStepSizesMayReachTwo() => RecurrentRaw(Raw, hasBias: false, reachesTwo: true, hasGradients: true);

    private void RecurrentRaw(DeltaCase c, bool hasBias, bool reachesTwo, bool hasGradients) =>
        (c with { HasGradients = hasGradients }).Check(Device, Expected(c, isRaw: true, hasBias, reachesTwo), RawInputs(hasBias), (x, h0, packed) =>
            DeltaOps.FusedRecurrentGatedDeltaRule(x("q"), x("k"), x("v"), x("g"), null, null, x("beta"), null, h0, true, true, true, x("A_log"),
                hasBias ? x("dt_bias") : null, true, reachesTwo, c.VFirst, packed));

    private static DeltaCase Raw => new(B: 1, T: 20) { HasUnitKeys = false, HasRawBeta = true };

    private static string[] RawInputs(bool hasBias) => ["g", "beta", "A_log", .. hasBias ? new[] { "bias/dt_bias" } : []];

    [Test]
    public void GoldenCase([Values] bool chunked)
    {
        using var golden = new GoldenDelta(Device, "chunk_gdn");
        golden.Check(chunked
            ? DeltaOps.ChunkGatedDeltaRule(golden["q"], golden["k"], golden["v"], golden["g"], golden["beta"], outputFinalState: true, useQkL2NormInKernel: true)
            : DeltaOps.FusedRecurrentGatedDeltaRule(golden["q"], golden["k"], golden["v"], golden["g"], beta: golden["beta"], outputFinalState: true, useQkL2NormInKernel: true));
    }

    [Test]
    public void TheShortNameIsTheSame([Values] bool chunked)
    {
        var c = new DeltaCase(B: 1, T: 20) { HasUnitKeys = false, HasRawBeta = true, Groups = 2, H = 1, VFirst = true, Packed = [0, 12, 20] };
        c.Check(Device, Expected(c, isRaw: true, reachesTwo: true), RawInputs(hasBias: true), (x, h0, packed) => chunked
            ? DeltaOps.ChunkGdn(x("q"), x("k"), x("v"), x("g"), x("beta"), null, h0, true, true, true, x("A_log"), x("dt_bias"), true, true, true, packed, 32)
            : DeltaOps.FusedRecurrentGdn(x("q"), x("k"), x("v"), x("g"), null, null, x("beta"), null, h0, true, true, true, x("A_log"), x("dt_bias"), true, true, true, packed));
    }

    [Test]
    public void WrongArgumentsAreNamed()
    {
        Tensor q = Tensor.Zeros(Device, DType.Float32, 1, 4, 2, 8), v = Tensor.Zeros(Device, DType.Float32, 1, 4, 4, 8), g = Tensor.Zeros(Device, DType.Float32, 1, 4, 4);
        var heads = Tensor.Zeros(Device, DType.Float32, 4);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(() => DeltaOps.FusedRecurrentGatedDeltaRule(q, q, v, q), Throws.TypeOf<ShapeException>().With.Message.Contains("g needs the shape [1, 4, 4]"));
            Assert.That(() => DeltaOps.FusedRecurrentGatedDeltaRule(q, q, v, g, beta: g, allowNegEigval: true), Throws.ArgumentException.With.Message.Contains("useBetaSigmoidInKernel"));
            Assert.That(() => DeltaOps.FusedRecurrentGatedDeltaRule(q, q, v, g, beta: g, aLog: heads), Throws.ArgumentException.With.Message.Contains("useGateInKernel"));
            Assert.That(() => DeltaOps.FusedRecurrentGatedDeltaRule(q, q, v, g, useGateInKernel: true), Throws.ArgumentException.With.Message.Contains("aLog"));
            Assert.That(() => DeltaOps.FusedRecurrentGatedDeltaRule(q, q, v, useGateInKernel: true, aLog: heads), Throws.ArgumentException.With.Message.Contains("needs g"));
            Assert.That(() => DeltaOps.FusedRecurrentGatedDeltaRule(q, q, v, g, useGateInKernel: true, aLog: g), Throws.TypeOf<ShapeException>().With.Message.Contains("aLog"));
            Assert.That(() => DeltaOps.FusedRecurrentGatedDeltaRule(q, q, v, g, gk: v, useGateInKernel: true, aLog: heads), Throws.ArgumentException.With.Message.Contains("gk"));
        }
    }
}
