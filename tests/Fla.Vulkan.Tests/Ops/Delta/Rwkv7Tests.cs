using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Delta;

public sealed class Rwkv7Tests(TestDevice device) : DeviceTests(device)
{
    private static RefResult Expected(DeltaCase c, double? scale, bool reverse = false) => c.Expect($"rwkv7 {scale} {reverse}", () => new DplrRecurrence
    {
        Q = c["q"], K = c["k"], V = c["v"], A = c["a"], B = c["dplr b"], Gk = c["gk"], Scale = scale, InitialState = c.InitialState, CuSeqlens = c.Packed,
        Reverse = reverse, OutputGradient = c.OutputGradient, FinalStateGradient = c.FinalGradient,
    }.Run());

    [Test]
    public void FormsHaveTheirOwnDefaults()
    {
        var c = new DeltaCase(B: 1);
        c.Check(Device, Expected(c, null), ["a", "dplr b/b", "gk"], (x, h0, packed) => DeltaOps.FusedRecurrentRwkv7(x("q"), x("gk"), x("k"), x("v"), x("a"), x("b"),
            initialState: h0));
        c = c with { HasStates = false };
        c.Check(Device, Expected(c, 1), ["a", "dplr b/b", "gk"], (x, h0, packed) => DeltaOps.ChunkRwkv7(x("q"), x("gk"), x("k"), x("v"), x("a"), x("b")));
    }

    [TestCase(DType.Float32, false)]
    [TestCase(DType.Float32, true)]
    [TestCase(DType.Float16, false)]
    public void MulFormMakesTheCorrection(DType type, bool reverse)
    {
        var c = new DeltaCase(B: 1, T: 40) { Packed = [0, 7, 7, 40], Type = type };
        (c with { HasGradients = false }).Check(Device, Expected(c, 1, reverse), ["kk", "rate", "gk"], (x, h0, packed) => DeltaOps.FusedMulRecurrentRwkv7(
            x("q"), x("gk"), x("k"), x("v"), x("kk"), x("rate"), initialState: h0, outputFinalState: true, reverse: reverse, cuSeqlens: packed));
    }

    // d/dkk = -da + rate db, d/drate = kk db.
    [Test]
    public void MulFormHasGradients()
    {
        var c = new DeltaCase(B: 1, T: 20);
        var expected = Expected(c, 1);
        double[] da = expected.Grad("a").Data, db = expected.Grad("b").Data, rate = c["rate"].Data, kk = c["kk"].Data;
        Tensor Leaf(string name)
        {
            var leaf = DeltaCase.Upload(Device, c[name], DType.Float32);
            leaf.RequiresGrad = true;
            return leaf;
        }

        Tensor removal = Leaf("kk"), learning = Leaf("rate");
        var (o, ht) = DeltaOps.FusedMulRecurrentRwkv7(Leaf("q"), Leaf("gk"), Leaf("k"), Leaf("v"), removal, learning, initialState: Leaf("h0"), outputFinalState: true);
        Autograd.Backward([o, ht!], [DeltaCase.Upload(Device, c.OutputGradient!, DType.Float32), DeltaCase.Upload(Device, c.FinalGradient!, DType.Float32)]);
        DeltaCase.Compare("grad.kk", removal.Grad!, new([.. da.Select((x, i) => -x + rate[i] * db[i])], c["kk"].Shape), c.GradientTolerance);
        DeltaCase.Compare("grad.a", learning.Grad!, new([.. db.Select((x, i) => x * kk[i])], c["kk"].Shape), c.GradientTolerance);
    }

    [Test]
    public void GoldenCase([Values] bool chunked)
    {
        using var golden = new GoldenDelta(Device, "chunk_rwkv7");
        golden.Check(chunked
            ? DeltaOps.ChunkRwkv7(golden["r"], golden["w"], golden["k"], golden["v"], golden["a"], golden["b"], outputFinalState: true)
            : DeltaOps.FusedRecurrentRwkv7(golden["r"], golden["w"], golden["k"], golden["v"], golden["a"], golden["b"], scale: 1));
    }
}
