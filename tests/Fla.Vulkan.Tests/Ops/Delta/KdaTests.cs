using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Delta;

public sealed class KdaTests(TestDevice device) : DeviceTests(device)
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

    private static RefResult Expected(DeltaCase c, bool isRaw = false, double? bound = null, string? aLog = "A_log", bool reachesTwo = false) => new DeltaRecurrence
    {
        Q = c["q"], K = c["k"], V = c["v"], Beta = c["beta"], Gk = c["gk"], UseQkL2Norm = isRaw, UseGate = isRaw, ALog = isRaw && aLog is not null ? c[aLog] : null,
        DtBias = isRaw ? c["bias4"] : null, LowerBound = bound, UseBetaSigmoid = isRaw, AllowNegEigval = reachesTwo, Scale = c.Scale, InitialState = c.InitialState,
        CuSeqlens = c.Packed, OutputGradient = c.OutputGradient, FinalStateGradient = c.FinalGradient,
    }.Run();

    [TestCaseSource(nameof(Cases))]
    public void RecurrentIsTheRecurrence(object of)
    {
        var c = ((DeltaCase)of) with { HasGradients = false };
        c.Check(Device, Expected(c), ["gk", "beta"], (x, h0, packed) => DeltaOps.FusedRecurrentKda(x("q"), x("k"), x("v"), x("gk"), x("beta"),
            (float?)c.Scale, h0, c.HasStates, lowerBound: -5, stateVFirst: c.VFirst, cuSeqlens: packed));
    }

    [TestCaseSource(nameof(RawCases))]
    public void RecurrentTakesRawInputs(object of)
    {
        var c = ((DeltaCase)of) with { HasGradients = false };
        c.Check(Device, Expected(c, isRaw: true), ["gk", "beta", "A_log", "bias4/dt_bias"], (x, h0, packed) => DeltaOps.FusedRecurrentKda(
            x("q"), x("k"), x("v"), x("gk"), x("beta"), null, h0, true, true, true, x("A_log"), x("dt_bias"), null, true, false, c.VFirst, packed));
    }

    [TestCase("A_log")]
    [TestCase(null)]
    public void GateMayBeBounded(string? aLog)
    {
        var c = new DeltaCase(B: 1, T: 20) { HasUnitKeys = false, HasRawBeta = true, HasGradients = false };
        c.Check(Device, Expected(c, isRaw: true, bound: -5, aLog: aLog, reachesTwo: true), ["gk", "beta", "bias4/dt_bias", .. aLog is null ? [] : new[] { aLog }], (x, h0, packed) =>
            DeltaOps.FusedRecurrentKda(x("q"), x("k"), x("v"), x("gk"), x("beta"), null, h0, true, true, true, aLog is null ? null : x(aLog), x("dt_bias").View(-1), -5, true, true));
    }

    [Test]
    public void GoldenCase()
    {
        using var golden = new GoldenDelta(Device, "chunk_kda");
        golden.Check(DeltaOps.FusedRecurrentKda(golden["q"], golden["k"], golden["v"], golden["g"], golden["beta"], outputFinalState: true, useQkL2NormInKernel: true));
    }

    [Test]
    public void WrongArgumentsAreNamed()
    {
        Tensor q = Tensor.Zeros(Device, DType.Float32, 1, 4, 2, 8), state = Tensor.Zeros(Device, DType.Float16, 1, 2, 8, 8), heads = Tensor.Zeros(Device, DType.Float32, 2);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(() => DeltaOps.FusedRecurrentKda(q, q, q, heads), Throws.TypeOf<ShapeException>().With.Message.Contains("g needs the shape [1, 4, 2, 8]"));
            Assert.That(() => DeltaOps.FusedRecurrentKda(q, q, q, q, initialState: state), Throws.TypeOf<DTypeException>());
            Assert.That(() => DeltaOps.FusedRecurrentKda(q, q, q, q, lowerBound: 0), Throws.ArgumentException.With.Message.Contains("lowerBound"));
            Assert.That(() => DeltaOps.FusedRecurrentKda(q, q, q, q, useGateInKernel: true), Throws.ArgumentException);
            Assert.That(() => DeltaOps.FusedRecurrentKda(q, q, q, q, useGateInKernel: true, aLog: heads, dtBias: heads), Throws.TypeOf<ShapeException>().With.Message.Contains("dtBias needs the shape [16]"));
        }
    }
}
