using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Delta;

public sealed class CombaTests(TestDevice device) : DeviceTests(device)
{
    private static IEnumerable<DeltaCase> Cases() => DeltaCase.Gated.Select(c => c with { VFirst = false });

    private static RefResult Expected(DeltaCase c, bool isNormalized = false, bool hasP = true) => c.Expect($"comba {isNormalized} {hasP}", () => new DeltaRecurrence
    {
        Q = c["q"], K = c["k"], V = c["v"], P = hasP ? c["p"] : null, Beta = c["beta"], G = c["g"], ReadsUndecayed = true, UseQkL2Norm = isNormalized, Scale = c.Scale,
        InitialState = c.InitialState, CuSeqlens = c.Packed, OutputGradient = c.OutputGradient, FinalStateGradient = c.FinalGradient,
    }.Run());

    [TestCaseSource(nameof(Cases))]
    public void ChunkIsTheRecurrence(object of) => Chunk((DeltaCase)of);

    [TestCaseSource(nameof(Cases))]
    public void RecurrentIsTheRecurrence(object of) => Recurrent((DeltaCase)of, hasGradients: false);

    [TestCase(true, true)]
    [TestCase(true, false)]
    [TestCase(false, false)]
    public void NormalizesAndErasesWithKeys(bool isNormalized, bool hasP)
    {
        var c = new DeltaCase(B: 1, T: 20) { HasUnitKeys = !isNormalized };
        Chunk(c, isNormalized, hasP);
        Recurrent(c, isNormalized, hasP);
    }

    private void Chunk(DeltaCase c, bool isNormalized = false, bool hasP = true) =>
        c.Check(Device, Expected(c, isNormalized, hasP), InputsOf(hasP), (x, h0, packed) => DeltaOps.ChunkComba(
            x("q"), x("k"), x("v"), hasP ? x("p") : null, x("g"), x("beta"), (float?)c.Scale, h0, c.HasStates, isNormalized, packed));

    private void Recurrent(DeltaCase c, bool isNormalized = false, bool hasP = true, bool hasGradients = true) =>
        (c with { HasGradients = hasGradients }).Check(Device, Expected(c, isNormalized, hasP), InputsOf(hasP), (x, h0, packed) => DeltaOps.FusedRecurrentComba(
            x("q"), x("k"), hasP ? x("p") : null, x("v"), x("g"), x("beta"), (float?)c.Scale, h0, c.HasStates, isNormalized, packed));

    private static string[] InputsOf(bool hasP) => ["g", "beta", .. hasP ? new[] { "p" } : []];

    [Test]
    public void GoldenCase([Values] bool chunked)
    {
        using var golden = new GoldenDelta(Device, "chunk_comba");
        golden.Check(chunked
            ? DeltaOps.ChunkComba(golden["q"], golden["k"], golden["v"], golden["p"], golden["g"], golden["beta"], outputFinalState: true, useQkL2NormInKernel: true)
            : DeltaOps.FusedRecurrentComba(golden["q"], golden["k"], golden["p"], golden["v"], golden["g"], golden["beta"], outputFinalState: true, useQkL2NormInKernel: true));
    }
}
