using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Delta;

/// <summary>
/// Slices of 64 columns, a tile in one, which only cards with 48 KiB of shared memory take by themselves. Over cooperative matrices they fit a CPU driver's 32 KiB;
/// plain arithmetic, whose tiles are fp32, has no room for them anywhere.
/// </summary>
public sealed class WholeSlicesTests(TestDevice device) : DeviceTests(device)
{
    private TileTable? _before;

    [SetUp]
    public void TakeWholeSlices()
    {
        if (Device.MatrixShape(DType.Float16) is null) Assert.Ignore("no cooperative matrices");
        _before = Device.Tiles;
        Device.Tiles = _before.With("delta/wy", isMatrix: true, _before["delta/wy", true] with { Slice = 64 })
            // Few invocations have little scratch memory, and much code each.
            .With("delta/wy_backward", isMatrix: true, _before["delta/wy_backward", true] with { Workgroup = 64, Slice = 64 });
    }

    [TearDown]
    public void TakeUsualSlices() => Device.Tiles = _before ?? Device.Tiles;

    private static DeltaCase Whole => new(B: 1, T: 70, H: 1, K: 72, V: 72) { Type = DType.Float16, HasGradients = false };

    private static DeltaCase Ragged => Whole with { K = 20, V = 130, Groups = 2, Packed = [0, 3, 70], VFirst = true };

    [Test]
    public void HeadDecays() => Gdn(Whole);

    [Test]
    public void ChannelDecays() => Kda(Ragged);

    [Test]
    public void Generalized()
    {
        var c = Whole;
        var expected = c.Expect("dplr True False", () => new DplrRecurrence
        {
            Q = c["q"], K = c["k"], V = c["v"], A = c["a"], B = c["dplr b"], Gk = c["gk"], InitialState = c.InitialState,
        }.Run());
        c.Check(Device, expected, ["a", "dplr b/b", "gk"], (x, h0, _) => DeltaOps.ChunkDplrDeltaRule(x("q"), x("k"), x("v"), x("a"), x("b"), x("gk"),
            initialState: h0, outputFinalState: true));
    }

    [Test, Explicit("a CPU driver compiles the backward kernel for minutes")]
    public void Gradients()
    {
        Gdn(Ragged with { HasGradients = true });
        Kda(Whole with { HasGradients = true });
    }

    private void Gdn(DeltaCase c) =>
        c.Check(Device, Expected(c, "g"), ["g", "beta"], (x, h0, packed) => DeltaOps.ChunkGatedDeltaRule(x("q"), x("k"), x("v"), x("g"), x("beta"),
            initialState: h0, outputFinalState: true, stateVFirst: c.VFirst, cuSeqlens: packed));

    private void Kda(DeltaCase c) =>
        c.Check(Device, Expected(c, "gk"), ["gk", "beta"], (x, h0, packed) => DeltaOps.ChunkKda(x("q"), x("k"), x("v"), x("gk"), x("beta"),
            initialState: h0, outputFinalState: true, stateVFirst: c.VFirst, cuSeqlens: packed));

    private static RefResult Expected(DeltaCase c, string gate) => c.Expect($"whole slices {gate}", () => new DeltaRecurrence
    {
        Q = c["q"], K = c["k"], V = c["v"], Beta = c["beta"], G = gate == "g" ? c["g"] : null, Gk = gate == "gk" ? c["gk"] : null, InitialState = c.InitialState,
        CuSeqlens = c.Packed, OutputGradient = c.OutputGradient, FinalStateGradient = c.FinalGradient,
    }.Run());
}
