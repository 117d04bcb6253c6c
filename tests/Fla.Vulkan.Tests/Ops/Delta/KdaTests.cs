using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Delta;

public sealed class KdaTests(TestDevice device) : DeviceTests(device)
{
    private static IEnumerable<DeltaCase> Cases() => DeltaCase.Gated;

    private static IEnumerable<DeltaCase> RawCases() => DeltaCase.Raw;

    private static RefResult Expected(DeltaCase c, bool isRaw = false, double? bound = null, bool hasRate = true, string beta = "beta") =>
        c.Expect($"kda {isRaw} {bound} {hasRate} {beta}", () => new DeltaRecurrence
        {
            Q = c["q"], K = c["k"], V = c["v"], Beta = c[beta], Gk = c["gk"], UseQkL2Norm = isRaw, UseGate = isRaw, ALog = isRaw && hasRate ? c["A_log"] : null,
            DtBias = isRaw ? c["bias4"] : null, LowerBound = bound, UseBetaSigmoid = isRaw, AllowNegEigval = bound is not null, Scale = c.Scale, InitialState = c.InitialState,
            CuSeqlens = c.Packed, OutputGradient = c.OutputGradient, FinalStateGradient = c.FinalGradient,
        }.Run());

    [TestCaseSource(nameof(Cases))]
    public void ChunkIsTheRecurrence(object of) => Chunk((DeltaCase)of);

    [TestCase(16)]
    [TestCase(32)]
    public void ChunkLengthChangesNothing(int chunk) => Chunk(new DeltaCase { B = 1, T = 75, Packed = [0, 33, 75] }, chunk);

    private void Chunk(DeltaCase c, int chunk = 64) =>
        c.Check(Device, Expected(c), ["gk", "beta"], (x, h0, packed) => DeltaOps.ChunkKda(x("q"), x("k"), x("v"), x("gk"), x("beta"),
            (float?)c.Scale, h0, c.HasStates, lowerBound: -5, stateVFirst: c.VFirst, cuSeqlens: packed, chunkSize: chunk));

    [TestCaseSource(nameof(Cases))]
    public void RecurrentIsTheRecurrence(object of) => Recurrent((DeltaCase)of, "beta", hasGradients: false);

    [TestCase("beta")]
    [TestCase("beta4")]
    public void RecurrentHasGradientsForAllStepSizes(string beta) => Recurrent(new DeltaCase(B: 1, T: 18, V: 10) { Groups = 2, H = 1 }, beta);

    private void Recurrent(DeltaCase c, string beta, bool hasGradients = true) =>
        (c with { HasGradients = hasGradients }).Check(Device, Expected(c, beta: beta), ["gk", beta + "/beta"], (x, h0, packed) => DeltaOps.FusedRecurrentKda(
            x("q"), x("k"), x("v"), x("gk"), x("beta"), (float?)c.Scale, h0, c.HasStates, lowerBound: -5, stateVFirst: c.VFirst, cuSeqlens: packed));

    [TestCaseSource(nameof(RawCases))]
    public void TakesRawInputs(object of) => Raw((DeltaCase)of, null, hasRate: true, recurrentGradients: false);

    /// <summary>Without gradients the products' kernel divides rows by their lengths itself: of weak and strong decays, in several slices of channels and in parts of one.</summary>
    [Test]
    public void RowsGetLengthOneWithoutGradients([Values(DType.Float32, DType.Float16, DType.BFloat16)] DType type, [Values(10, 0.01)] double normalizer, [Values(128, 20)] int channels)
    {
        var c = new DeltaCase(B: 1, T: channels == 128 ? 128 : 70, H: 1, K: channels) { Type = type, GateType = type, Normalizer = normalizer, HasUnitKeys = false, HasGradients = false, Groups = 2 };
        var expected = c.Expect("kda of length one", () => new DeltaRecurrence
        {
            Q = c["q"], K = c["k"], V = c["v"], Beta = c["beta"], Gk = c["gk"], UseQkL2Norm = true, InitialState = c.InitialState,
        }.Run());
        c.Check(Device, expected, ["gk", "beta"], (x, h0, packed) => DeltaOps.ChunkKda(x("q"), x("k"), x("v"), x("gk"), x("beta"), null, h0, true, useQkL2NormInKernel: true));
    }

    [TestCase(true)]
    [TestCase(false)]
    public void GateMayBeBounded(bool hasRate) => Raw(new DeltaCase(B: 1, T: 20) { HasUnitKeys = false, HasRawBeta = true }, -5, hasRate, recurrentGradients: true);

    private void Raw(DeltaCase c, double? bound, bool hasRate, bool recurrentGradients)
    {
        string[] inputs = ["gk", "beta", "bias4/dt_bias", .. hasRate ? new[] { "A_log" } : []];
        var expected = Expected(c, isRaw: true, bound, hasRate);
        c.Check(Device, expected, inputs, (x, h0, packed) => DeltaOps.ChunkKda(x("q"), x("k"), x("v"), x("gk"), x("beta"), null, h0, true, true, true,
            hasRate ? x("A_log") : null, x("dt_bias"), (float?)bound, true, bound is not null, c.VFirst, packed));
        (c with { HasGradients = recurrentGradients }).Check(Device, expected, inputs, (x, h0, packed) => DeltaOps.FusedRecurrentKda(x("q"), x("k"), x("v"), x("gk"), x("beta"), null,
            h0, true, true, true, hasRate ? x("A_log") : null, x("dt_bias").View(-1), (float?)bound, true, bound is not null, c.VFirst, packed));
    }

    [Test]
    public void GoldenCase([Values] bool chunked)
    {
        using var golden = new GoldenDelta(Device, "chunk_kda");
        golden.Check(chunked
            ? DeltaOps.ChunkKda(golden["q"], golden["k"], golden["v"], golden["g"], golden["beta"], outputFinalState: true, useQkL2NormInKernel: true)
            : DeltaOps.FusedRecurrentKda(golden["q"], golden["k"], golden["v"], golden["g"], golden["beta"], outputFinalState: true, useQkL2NormInKernel: true));
    }

    /// <summary>The state that enters a chunk is the final state of what comes before it.</summary>
    [Test]
    public void StatesBetweenChunksAreReturned([Values] bool packed, [Values(DType.Float32, DType.Float16, DType.BFloat16)] DType type)
    {
        const int Chunk = 16;
        var c = new DeltaCase(B: packed ? 1 : 2, T: 40, H: 1, K: 20, V: 24)
        {
            Type = type, Groups = 2, HasGradients = false, HasUnitKeys = false, HasRawBeta = true, VFirst = packed, Packed = packed ? [0, 0, 17, 40] : null,
        };
        Tensor X(string name) => DeltaCase.Upload(Device, c[name], c.TypeOf(name));
        using var boundaries = c.Packed is null ? null : new CuSeqlens(Device, c.Packed);
        var (o, ht, states) = DeltaOps.ChunkKdaWithStates(X("q"), X("k"), X("v"), X("gk"), X("beta"), null, DeltaCase.Upload(Device, c.Laid(c["h0"]), DType.Float32), true, true,
            true, X("A_log"), X("bias4"), useBetaSigmoidInKernel: true, stateVFirst: c.VFirst, cuSeqlens: boundaries, chunkSize: Chunk);
        var whole = Expected(c, isRaw: true);
        DeltaCase.Compare("o", o, whole.O, c.ForwardTolerance);
        DeltaCase.Compare("ht", ht!, c.Laid(whole.FinalState), c.ForwardTolerance);
        // Every chunk ends a sequence: those that begin where its own does, up to where it starts.
        int[] starts = packed ? [0, 17] : [0, 40], lengths = packed ? [17, 23] : [40, 40];
        List<double> expected = [];
        for (var n = 0; n < starts.Length; n++)
        {
            for (var first = 0; first < lengths[n]; first += Chunk) expected.AddRange(StateBefore(c, packed ? n + 1 : n, starts[n], first).Data);
        }
        DeltaCase.Compare("states", states, c.Laid(new([.. expected], packed ? 1 : 2, packed ? 4 : 3, c.HV, c.K, c.V)), c.ForwardTolerance);
        Assert.That(states.DType, Is.EqualTo(type));
    }

    /// <summary>The state of sequence n after some of its tokens.</summary>
    private static RefTensor StateBefore(DeltaCase c, int n, int start, int count)
    {
        RefTensor Part(RefTensor x)
        {
            var size = x.Length / (c.B * c.T);
            return new([.. x.Data[(start * size)..((start + count) * size)]], [1, count, .. x.Shape[2..]]);
        }

        var width = c.HV * c.K * c.V;
        return new DeltaRecurrence
        {
            Q = Part(c["q"]), K = Part(c["k"]), V = Part(c["v"]), Beta = Part(c["beta"]), Gk = Part(c["gk"]), UseQkL2Norm = true, UseGate = true, ALog = c["A_log"],
            DtBias = c["bias4"], UseBetaSigmoid = true, InitialState = new([.. c["h0"].Data[(n * width)..((n + 1) * width)]], 1, c.HV, c.K, c.V),
        }.Run().FinalState;
    }

    [Test]
    public void StatesBetweenChunksHaveNoGradients()
    {
        Tensor q = Tensor.Zeros(Device, DType.Float32, 1, 4, 2, 8), beta = Tensor.Zeros(Device, DType.Float32, 1, 4, 2);
        q.RequiresGrad = true;
        Assert.That(() => DeltaOps.ChunkKdaWithStates(q, q, q, q, beta), Throws.TypeOf<AutogradException>());
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
