using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Delta;

public sealed class GatedDeltaRuleTests(TestDevice device) : DeviceTests(device)
{
    private static IEnumerable<DeltaCase> Cases()
    {
        var usual = new DeltaCase();
        yield return usual;
        yield return usual with { HasStates = false, Scale = 0.3 };
        yield return usual with { B = 1, T = 15, K = 60, V = 100, H = 1, VFirst = true };
        yield return usual with { B = 1, T = 65, H = 2, Groups = 2, V = 37 };
        yield return usual with { Normalizer = 0.01 };
        yield return usual with { Normalizer = 10, VFirst = true };
        yield return usual with { B = 1, T = 97, H = 1, Groups = 3, Packed = [0, 1, 17, 80, 80, 97], VFirst = true };
        yield return usual with { B = 1, T = 15, Packed = [0, 0, 15] };
        yield return usual with { Type = DType.Float16 };
        yield return usual with { Type = DType.BFloat16, GateType = DType.BFloat16 };
    }

    /// <summary>Everything in the kernel at once: l2norm, gate, β sigmoid.</summary>
    private static IEnumerable<DeltaCase> RawCases()
    {
        var usual = new DeltaCase { HasUnitKeys = false, HasRawBeta = true, Groups = 2, H = 1 };
        yield return usual;
        yield return usual with { B = 1, T = 50, Packed = [0, 20, 20, 50], VFirst = true };
        yield return usual with { Type = DType.Float16 };
    }

    private static RefResult Expected(DeltaCase c, bool isRaw = false, bool hasBias = true, bool reachesTwo = false, string[]? gates = null, string beta = "beta") => new DeltaRecurrence
    {
        Q = c["q"], K = c["k"], V = c["v"], Beta = c[beta], G = gates?.Contains("g") == false ? null : c["g"], Gk = gates?.Contains("gk") == true ? c["gk"] : null,
        Gv = gates?.Contains("gv") == true ? c["gv"] : null, UseQkL2Norm = isRaw, UseGate = isRaw, ALog = isRaw ? c["A_log"] : null,
        DtBias = isRaw && hasBias ? c["bias"] : null, UseBetaSigmoid = isRaw, AllowNegEigval = reachesTwo, Scale = c.Scale, InitialState = c.InitialState,
        CuSeqlens = c.Packed, OutputGradient = c.OutputGradient, FinalStateGradient = c.FinalGradient,
    }.Run();

    [TestCaseSource(nameof(Cases))]
    public void RecurrentIsTheRecurrence(object of)
    {
        var c = ((DeltaCase)of) with { HasGradients = false };
        c.Check(Device, Expected(c), ["g", "beta"], (x, h0, packed) => DeltaOps.FusedRecurrentGatedDeltaRule(x("q"), x("k"), x("v"), x("g"), null, null, x("beta"),
            (float?)c.Scale, h0, c.HasStates, stateVFirst: c.VFirst, cuSeqlens: packed));
    }

    [TestCase("gk,gv", "beta")]
    [TestCase("g,gk,gv", "beta4")]
    public void RecurrentTakesMoreGates(string names, string beta)
    {
        var c = new DeltaCase(B: 1, T: 18) { HasGradients = false };
        var gates = names.Split(',');
        c.Check(Device, Expected(c, gates: gates, beta: beta), [.. gates, beta + "/beta"], (x, h0, packed) => DeltaOps.FusedRecurrentGatedDeltaRule(x("q"), x("k"), x("v"),
            gates.Contains("g") ? x("g") : null, x("gk"), x("gv"), x("beta"), null, h0, true));
    }

    [TestCaseSource(nameof(RawCases))]
    public void RecurrentTakesRawInputs(object of)
    {
        var c = ((DeltaCase)of) with { HasGradients = false };
        c.Check(Device, Expected(c, isRaw: true), ["g", "beta", "A_log", "bias/dt_bias"], (x, h0, packed) => DeltaOps.FusedRecurrentGatedDeltaRule(
            x("q"), x("k"), x("v"), x("g"), null, null, x("beta"), null, h0, true, true, true, x("A_log"), x("dt_bias"), true, false, c.VFirst, packed));
    }

    [Test]
    public void StepSizesMayReachTwo()
    {
        var c = new DeltaCase(B: 1, T: 20) { HasUnitKeys = false, HasRawBeta = true, HasGradients = false };
        c.Check(Device, Expected(c, isRaw: true, hasBias: false, reachesTwo: true), ["g", "beta", "A_log"], (x, h0, packed) => DeltaOps.FusedRecurrentGatedDeltaRule(
            x("q"), x("k"), x("v"), x("g"), null, null, x("beta"), null, h0, true, true, true, x("A_log"), null, true, true));
    }

    [Test]
    public void GoldenCase()
    {
        using var golden = new GoldenDelta(Device, "chunk_gdn");
        golden.Check(DeltaOps.FusedRecurrentGatedDeltaRule(golden["q"], golden["k"], golden["v"], golden["g"], beta: golden["beta"], outputFinalState: true,
            useQkL2NormInKernel: true));
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
