using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Delta;

/// <summary>The chunked engine by itself, under every kind of decay.</summary>
public sealed class DeltaChunkTests(TestDevice device) : DeviceTests(device)
{
    private static IEnumerable<TestCaseData> Cases()
    {
        var usual = new DeltaCase();
        foreach (var gate in new[] { "", "g", "gk" })
        {
            yield return new(usual, gate, 64);
            yield return new(usual with { B = 1, T = 97, H = 1, K = 70, V = 37, Packed = [0, 1, 17, 80, 80, 97], VFirst = true }, gate, 32);
            yield return new(usual with { B = 1, T = 75, H = 1, K = 40, V = 100, HasStates = false }, gate, 16);
        }
        yield return new(usual with { B = 1, Type = DType.BFloat16, VFirst = true }, "", 64);
        yield return new(usual with { B = 1, Type = DType.Float16 }, "g", 64);
        yield return new(usual with { B = 1, Type = DType.Float16 }, "gk", 64);
        // Whole chunks and tiles: no bounds are looked at.
        yield return new(usual with { B = 1, T = 128, H = 1, K = 64, V = 64 }, "gk", 64);
        yield return new(usual with { B = 1, T = 128, H = 1, K = 64, V = 64, Type = DType.Float16 }, "g", 64);
        // Many channels in registers (delta_state_wide.comp; half as many on a CPU).
        yield return new(usual with { T = 128, H = 2, K = 128, V = 128, Type = DType.Float16 }, "g", 64);
        yield return new(usual with { B = 1, T = 192, H = 1, K = 128, V = 256, VFirst = true, Type = DType.BFloat16 }, "", 64);
        yield return new(usual with { B = 1, T = 64, H = 1, K = 128, V = 128, HasStates = false, Type = DType.Float16 }, "g", 64);
        foreach (var gate in new[] { "g", "gk" })
        {
            yield return new(usual with { B = 1, T = 65, H = 1, K = 256, V = 512, Type = DType.Float16 }, gate, 64);
            yield return new(usual with { B = 1, T = 67, H = 1, Normalizer = 0.01 }, gate, 64);
            yield return new(usual with { B = 1, T = 1, H = 1 }, gate, 64);
            yield return new(usual with { B = 1, HasIdleSteps = true }, gate, 64);
            yield return new(usual with { B = 1, T = 40, HasIdleSteps = true, Type = DType.Float16 }, gate, 32);
            yield return new(usual with { B = 1, T = 5, H = 1, Packed = [0, 0, 5, 5] }, gate, 64);
        }
    }

    [TestCaseSource(nameof(Cases))]
    public void KeysErase(object of, string gate, int chunk) => Check((DeltaCase)of, gate, chunk, erasesKeys: true);

    [TestCase("g", 64)]
    [TestCase("g", 16)]
    [TestCase("gk", 32)]
    [TestCase("gk", 64, true)]
    [TestCase("g", 64, true, DType.Float16)]
    public void OtherRowsEraseFromTheUndecayedState(string gate, int chunk, bool hasIdleSteps = false, DType type = DType.Float32) =>
        Check(new DeltaCase { B = 1, T = 77, H = 2, Packed = [0, 70, 77], HasIdleSteps = hasIdleSteps, Type = type }, gate, chunk, erasesKeys: false);

    private static IEnumerable<TestCaseData> GeneralizedCases()
    {
        var usual = new DeltaCase();
        yield return new(usual, true, 64);
        yield return new(usual with { B = 1, T = 97, H = 1, K = 70, V = 37, Packed = [0, 1, 17, 80, 80, 97], VFirst = true }, true, 32);
        yield return new(usual with { B = 1, T = 75, H = 1, K = 40, V = 100, HasStates = false }, true, 16);
        yield return new(usual with { B = 1, T = 70, Type = DType.Float16 }, true, 64);
        yield return new(usual with { B = 1, T = 64, H = 1, K = 64, V = 128, Type = DType.Float16 }, true, 64);
        yield return new(usual with { B = 1, T = 66, H = 1 }, false, 64);
        yield return new(usual with { B = 1, T = 67, H = 1, Normalizer = 0.01 }, true, 64);
        yield return new(usual with { B = 1, T = 65, H = 1, K = 256, V = 512, Type = DType.Float16 }, true, 64);
    }

    [TestCaseSource(nameof(GeneralizedCases))]
    public void TheGeneralizedRuleWritesWhereItIsTold(object of, bool decays, int chunk)
    {
        var c = (DeltaCase)of;
        var reference = new DplrRecurrence
        {
            Q = c["q"], K = c["k"], V = c["v"], A = c["a"], B = c["dplr b"], Gk = decays ? c["gk"] : null,
            Scale = c.Scale, InitialState = c.InitialState, CuSeqlens = c.Packed, OutputGradient = c.OutputGradient, FinalStateGradient = c.FinalGradient,
        }.Run();
        string[] inputs = ["a", "dplr b/b", .. decays ? new[] { "gk" } : []];
        c.Check(Device, reference, inputs, (x, h0, packed) =>
        {
            var shape = LinearShape.Of(x("q"), x("k"), x("v"), packed);
            var scale = (float)(c.Scale ?? 1 / Math.Sqrt(c.K));
            return DplrChunk.Run(shape, chunk, x("q"), x("k"), x("v"), x("a"), x("b"), decays ? x("gk") : null, scale, h0, c.HasStates, c.VFirst);
        });
    }

    private void Check(DeltaCase c, string gate, int chunk, bool erasesKeys)
    {
        var reference = new DeltaRecurrence
        {
            Q = c["q"], K = c["k"], V = c["v"], P = erasesKeys ? null : c["p"], Beta = c["beta"], G = gate == "g" ? c["g"] : null, Gk = gate == "gk" ? c["gk"] : null,
            ReadsUndecayed = !erasesKeys, Scale = c.Scale, InitialState = c.InitialState, CuSeqlens = c.Packed, OutputGradient = c.OutputGradient, FinalStateGradient = c.FinalGradient,
        }.Run();
        string[] inputs = [.. erasesKeys ? [] : new[] { "p" }, "beta", .. gate == "" ? [] : new[] { gate }];
        c.Check(Device, reference, inputs, (x, h0, packed) =>
        {
            var shape = LinearShape.Of(x("q"), x("k"), x("v"), packed);
            var scale = (float)(c.Scale ?? 1 / Math.Sqrt(c.K));
            var (o, ht, _) = DeltaChunk.Run(shape, chunk, x("q"), x("k"), x(erasesKeys ? "k" : "p"), x("v"), x("beta"), gate == "" ? null : x(gate), !erasesKeys, scale, h0, c.HasStates, c.VFirst);
            return (o, ht);
        });
    }
}
