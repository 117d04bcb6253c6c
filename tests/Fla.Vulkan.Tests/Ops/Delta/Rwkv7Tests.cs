using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Delta;

public sealed class Rwkv7Tests(TestDevice device) : DeviceTests(device)
{
    private static RefResult Expected(DeltaCase c, double? scale, bool reverse = false) => new DplrRecurrence
    {
        Q = c["q"], K = c["k"], V = c["v"], A = c["a"], B = new(c["kk"].Data.Zip(c["rate"].Data, (x, y) => x * y).ToArray(), c["kk"].Shape), Gk = c["gk"], Scale = scale,
        InitialState = c.InitialState, CuSeqlens = c.Packed, Reverse = reverse, OutputGradient = c.OutputGradient, FinalStateGradient = c.FinalGradient,
    }.Run();

    [Test]
    public void RecurrentHasItsOwnDefaults()
    {
        var c = new DeltaCase { HasGradients = false };
        c.Check(Device, Expected(c, null), ["a", "dplr b/b", "gk"], (x, h0, packed) => DeltaOps.FusedRecurrentRwkv7(x("q"), x("gk"), x("k"), x("v"), x("a"), x("b"),
            initialState: h0));
    }

    [TestCase(DType.Float32, false)]
    [TestCase(DType.Float32, true)]
    [TestCase(DType.Float16, false)]
    public void MulFormMakesTheCorrection(DType type, bool reverse)
    {
        var c = new DeltaCase(B: 1, T: 40) { Packed = [0, 7, 7, 40], Type = type, HasGradients = false };
        c.Check(Device, Expected(c, 1, reverse), ["kk", "rate", "gk"], (x, h0, packed) => DeltaOps.FusedMulRecurrentRwkv7(x("q"), x("gk"), x("k"), x("v"), x("kk"), x("rate"),
            initialState: h0, outputFinalState: true, reverse: reverse, cuSeqlens: packed));
    }

    [Test]
    public void GoldenCase()
    {
        using var golden = new GoldenDelta(Device, "chunk_rwkv7");
        golden.Check(DeltaOps.FusedRecurrentRwkv7(golden["r"], golden["w"], golden["k"], golden["v"], golden["a"], golden["b"], scale: 1));
    }
}
