using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Delta;

public sealed class Gdn2Tests(TestDevice device) : DeviceTests(device)
{
    private static IEnumerable<DeltaCase> Cases()
    {
        var usual = new DeltaCase();
        yield return usual;
        yield return usual with { HasStates = false, Scale = 0.3 };
        yield return usual with { B = 1, T = 15, K = 60, V = 100, H = 1, VFirst = true };
        yield return usual with { Normalizer = 0.01 };
        yield return usual with { B = 1, T = 97, Packed = [0, 1, 17, 80, 80, 97], VFirst = true };
        yield return usual with { Type = DType.Float16 };
        yield return usual with { Type = DType.BFloat16, GateType = DType.BFloat16 };
    }

    private static RefResult Expected(DeltaCase c, bool isRaw = false, double? bound = null) => c.Expect($"gdn2 {isRaw} {bound}", () => new DeltaRecurrence
    {
        Q = c["q"], K = c["k"], V = c["v"], Gk = c["gk"], EraseGate = c["b"], WriteGate = c["w"], UseQkL2Norm = isRaw, UseGate = isRaw, ALog = isRaw ? c["A_log"] : null,
        DtBias = isRaw ? c["bias4"] : null, LowerBound = bound, Scale = c.Scale, InitialState = c.InitialState, CuSeqlens = c.Packed,
        OutputGradient = c.OutputGradient, FinalStateGradient = c.FinalGradient,
    }.Run());

    [TestCaseSource(nameof(Cases))]
    public void ChunkIsTheRecurrence(object of)
    {
        var c = (DeltaCase)of;
        c.Check(Device, Expected(c), ["gk", "b", "w"], (x, h0, packed) => DeltaOps.ChunkGdn2(x("q"), x("k"), x("v"), x("gk"), x("b"), x("w"),
            (float?)c.Scale, h0, c.HasStates, stateVFirst: c.VFirst, cuSeqlens: packed));
    }

    [TestCaseSource(nameof(Cases))]
    public void RecurrentIsTheRecurrence(object of)
    {
        var c = (DeltaCase)of;
        (c with { HasGradients = false }).Check(Device, Expected(c), ["gk", "b", "w"], (x, h0, packed) => DeltaOps.FusedRecurrentGdn2(
            x("q"), x("k"), x("v"), x("gk"), x("b"), x("w"), (float?)c.Scale, h0, c.HasStates, stateVFirst: c.VFirst, cuSeqlens: packed));
    }

    [TestCase(null)]
    [TestCase(-4.0)]
    public void TakesRawInputs(double? bound)
    {
        var c = new DeltaCase(B: 1, T: 20) { HasUnitKeys = false };
        string[] inputs = ["gk", "b", "w", "A_log", "bias4/dt_bias"];
        c.Check(Device, Expected(c, isRaw: true, bound), inputs, (x, h0, packed) => DeltaOps.ChunkGdn2(
            x("q"), x("k"), x("v"), x("gk"), x("b"), x("w"), null, h0, true, true, true, x("A_log"), x("dt_bias"), (float?)bound));
        c.Check(Device, Expected(c, isRaw: true, bound), inputs, (x, h0, packed) => DeltaOps.FusedRecurrentGdn2(
            x("q"), x("k"), x("v"), x("gk"), x("b"), x("w"), null, h0, true, true, true, x("A_log"), x("dt_bias"), (float?)bound));
    }

    [Test]
    public void ValueHeadsAreNotShared()
    {
        Tensor q = Tensor.Zeros(Device, DType.Float32, 1, 4, 2, 8), v = Tensor.Zeros(Device, DType.Float32, 1, 4, 4, 8);
        Assert.That(() => DeltaOps.FusedRecurrentGdn2(q, q, v, q, q, v), Throws.TypeOf<ShapeException>().With.Message.Contains("v needs the shape [1, 4, 2, 8]"));
    }
}
