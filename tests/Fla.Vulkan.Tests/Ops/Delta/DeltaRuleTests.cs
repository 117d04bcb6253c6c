using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Delta;

public sealed class DeltaRuleTests(TestDevice device) : DeviceTests(device)
{
    private static IEnumerable<DeltaCase> Cases()
    {
        var usual = new DeltaCase();
        yield return usual;
        yield return usual with { HasStates = false, Scale = 0.3 };
        yield return usual with { B = 1, T = 15, K = 60, V = 100, H = 1 };
        yield return usual with { B = 1, T = 40, H = 1, K = 128, V = 66 };
        yield return usual with { B = 1, T = 97, Packed = [0, 1, 17, 80, 80, 97] };
        yield return usual with { B = 1, T = 15, Packed = [0, 0, 15] };
        yield return usual with { Type = DType.Float16 };
        yield return usual with { Type = DType.BFloat16 };
        yield return usual with { Type = DType.Float16, GateType = DType.Float16 };
    }

    private static RefResult Expected(DeltaCase c, string? beta = "beta", bool isNormalized = false) => c.Expect($"delta {beta} {isNormalized}", () => new DeltaRecurrence
    {
        Q = c["q"], K = c["k"], V = c["v"], Beta = beta is null ? null : c[beta], UseQkL2Norm = isNormalized, Scale = c.Scale, InitialState = c.InitialState,
        CuSeqlens = c.Packed, OutputGradient = c.OutputGradient, FinalStateGradient = c.FinalGradient,
    }.Run());

    [TestCaseSource(nameof(Cases))]
    public void ChunkIsTheRecurrence(object of) => Chunk((DeltaCase)of);

    [TestCase(16)]
    [TestCase(32)]
    public void ChunkLengthChangesNothing(int chunk) => Chunk(new DeltaCase { B = 1, T = 75, Packed = [0, 33, 75] }, chunk);

    [Test]
    public void ChunkNormalizes([Values(DType.Float32, DType.BFloat16)] DType type) =>
        Chunk(new DeltaCase { HasUnitKeys = false, Type = type, K = 70 }, isNormalized: true);

    private void Chunk(DeltaCase c, int chunk = 64, bool isNormalized = false) =>
        c.Check(Device, Expected(c, isNormalized: isNormalized), ["beta"], (x, h0, packed) =>
            DeltaOps.ChunkDeltaRule(x("q"), x("k"), x("v"), x("beta"), (float?)c.Scale, h0, c.HasStates, isNormalized, packed, chunk));

    [TestCaseSource(nameof(Cases))]
    public void RecurrentIsTheRecurrence(object of) => Recurrent((DeltaCase)of, hasGradients: false);

    [TestCase(null)]
    [TestCase("beta")]
    [TestCase("beta4")]
    public void RecurrentHasGradientsForAllStepSizes(string? beta) => Recurrent(new DeltaCase(B: 1, T: 18, V: 10), beta);

    [Test]
    public void RecurrentNormalizes([Values(DType.Float32, DType.BFloat16)] DType type) =>
        Recurrent(new DeltaCase { HasUnitKeys = false, Type = type, K = 70 }, isNormalized: true);

    [Test]
    public void WidestHeadsFit([Values] bool chunked)
    {
        var c = new DeltaCase(B: 1, T: 18, H: 1, K: 256, V: 512);
        if (chunked) Chunk(c);
        else Recurrent(c, hasGradients: false);
    }

    private void Recurrent(DeltaCase c, string? beta = "beta", bool isNormalized = false, bool hasGradients = true) =>
        (c with { HasGradients = hasGradients }).Check(Device, Expected(c, beta, isNormalized), beta is null ? [] : [beta + "/beta"], (x, h0, packed) =>
            DeltaOps.FusedRecurrentDeltaRule(x("q"), x("k"), x("v"), beta is null ? null : x("beta"), (float?)c.Scale, h0, c.HasStates, isNormalized, packed));

    [Test]
    public void GoldenCase([Values] bool chunked)
    {
        using var golden = new GoldenDelta(Device, "chunk_delta_rule");
        golden.Check(chunked
            ? DeltaOps.ChunkDeltaRule(golden["q"], golden["k"], golden["v"], golden["beta"], outputFinalState: true)
            : DeltaOps.FusedRecurrentDeltaRule(golden["q"], golden["k"], golden["v"], golden["beta"], outputFinalState: true));
    }

    /// <summary>o, its gradients, and o again as the attention matrix times the values; 300 tokens are more columns of it than one memory holds.</summary>
    [TestCase(2, 33, DType.Float32)]
    [TestCase(1, 300, DType.Float32)]
    [TestCase(2, 20, DType.Float16)]
    [TestCase(2, 20, DType.BFloat16)]
    public void ParallelHasAttentions(int batch, int tokens, DType type)
    {
        var c = new DeltaCase(B: batch, T: tokens, H: 1, K: 16, V: 12) { HasStates = false, Scale = 0.4, Type = type };
        Tensor? attentions = null;
        Tensor Turned(Tensor x, params int[] shape) => x.View(shape);   // with one head both layouts are the same memory
        c.Check(Device, Expected(c), ["beta"], (x, _, _) =>
        {
            (var o, attentions) = DeltaOps.ParallelDeltaRule(Turned(x("q"), batch, 1, tokens, c.K), Turned(x("k"), batch, 1, tokens, c.K), Turned(x("v"), batch, 1, tokens, c.V),
                Turned(x("beta"), batch, 1, tokens), 0.4f, outputAttentions: true);
            return (Turned(o, batch, tokens, 1, c.V), null);
        });
        Assert.That((attentions!.Shape.ToArray(), attentions.DType), Is.EqualTo((new[] { batch, 1, tokens, tokens }, type)));
        var (a, v, beta) = (attentions.ToSingle(), c["v"].Data, c["beta"].Data);
        var again = new double[batch * tokens * c.V];
        for (var i = 0; i < again.Length; i++)
        {
            int row = i / c.V, first = row / tokens * tokens;
            for (var s = 0; s < tokens; s++) again[i] += a[row * tokens + s] * beta[first + s] * v[(first + s) * c.V + i % c.V];
        }
        ErrorRatio.AssertClose(Array.ConvertAll(again, x => (float)x), Expected(c).O.ToFloats(), c.ForwardTolerance, "A (beta v)");
    }

    [Test]
    public void ParallelIsHeadFirst()
    {
        var c = new DeltaCase(B: 1, T: 9, H: 2, K: 8, V: 5) { HasStates = false, HasGradients = false, Scale = 1 };
        Tensor HeadFirst(string name)
        {
            var x = DeltaCase.Upload(Device, c[name], DType.Float32);
            int[] turned = [.. x.Shape];
            (turned[1], turned[2]) = (c.H, c.T);
            return Layouts.Concat(1, [.. Layouts.Split(x, 2, 1, 1)]).View(turned);
        }

        var o = DeltaOps.ParallelDeltaRule(HeadFirst("q"), HeadFirst("k"), HeadFirst("v"), HeadFirst("beta"), 1).O;
        DeltaCase.Compare("o", Layouts.Concat(2, [.. Layouts.Split(o, 1, 1, 1).Select(x => x.View(1, c.T, 1, c.V))]), Expected(c).O, c.ForwardTolerance);
    }

    [Test]
    public void TokenByTokenInPlaceIsOneDispatchEach()
    {
        var c = new DeltaCase(B: 2, T: 5) { HasGradients = false };
        var expected = Expected(c);
        var state = DeltaCase.Upload(Device, c["h0"], DType.Float32);
        Tensor[] all = [.. new[] { "q", "k", "v", "beta" }.Select(name => DeltaCase.Upload(Device, c[name], DType.Float32))];
        for (var t = 0; t < c.T; t++)
        {
            var token = all.Select(x => Layouts.Slice(x, 1, t, 1)).ToArray();
            var before = Device.Stream.Dispatches;
            var (o, final) = DeltaOps.FusedRecurrentDeltaRule(token[0], token[1], token[2], token[3], initialState: state, finalState: state);
            Assert.That(Device.Stream.Dispatches - before, Is.EqualTo(1));
            Assert.That(final, Is.SameAs(state));
            var rows = c.H * c.V;
            float[] row = [.. Enumerable.Range(0, c.B).SelectMany(b => expected.O.ToFloats().Skip((b * c.T + t) * rows).Take(rows))];
            ErrorRatio.AssertClose(o.ToSingle(), row, c.ForwardTolerance, $"o[{t}]");
        }
        DeltaCase.Compare("ht", state, expected.FinalState, c.ForwardTolerance);
    }

    [Test]
    public void CapturedStepReplaysOverNewTokens()
    {
        var c = new DeltaCase(B: 1, T: 4) { HasGradients = false };
        var expected = Expected(c);
        var state = DeltaCase.Upload(Device, c["h0"], DType.Float32);
        string[] names = ["q", "k", "v", "beta"];
        int Row(string name) => name == "beta" ? c.H : c.H * (name == "v" ? c.V : c.K);
        Tensor[] token = [.. names.Select(name => Tensor.Zeros(Device, DType.Float32, [1, 1, .. c[name].Shape[2..]]))];
        Tensor Step() => DeltaOps.FusedRecurrentDeltaRule(token[0], token[1], token[2], token[3], initialState: state, finalState: state).O;
        Step();                                             // of zeros: the state stays as it is
        Tensor o = null!;
        using var graph = Device.Stream.Capture(() => o = Step());
        for (var t = 0; t < c.T; t++)
        {
            for (var i = 0; i < names.Length; i++) token[i].Write(c[names[i]].ToFloats().AsSpan(t * Row(names[i]), Row(names[i])));
            graph.Replay();
            ErrorRatio.AssertClose(o.ToSingle(), expected.O.ToFloats().AsSpan(t * Row("v"), Row("v")), c.ForwardTolerance, $"o[{t}]");
        }
        o.Dispose();
    }

    [Test]
    public void InPlaceStateNeedsNoRecording()
    {
        Tensor q = Tensor.Zeros(Device, DType.Float32, 1, 1, 1, 8), state = Tensor.Zeros(Device, DType.Float32, 1, 1, 8, 8);
        q.RequiresGrad = true;
        Assert.That(() => DeltaOps.FusedRecurrentDeltaRule(q, q, q, initialState: state, finalState: state), Throws.TypeOf<ShapeException>().With.Message.Contains("finalState"));
    }

    [Test]
    public void WrongArgumentsAreNamed()
    {
        Tensor q = Tensor.Zeros(Device, DType.Float32, 2, 8, 2, 16), v = Tensor.Zeros(Device, DType.Float32, 2, 8, 3, 8);
        Tensor beta = Tensor.Zeros(Device, DType.Float32, 2, 8, 2);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(() => DeltaOps.FusedRecurrentDeltaRule(q, q, v, beta), Throws.TypeOf<ShapeException>().With.Message.Contains("v needs the shape"));
            Assert.That(() => DeltaOps.FusedRecurrentDeltaRule(q, q, q.To(DType.Float16), beta), Throws.TypeOf<DTypeException>().With.Message.Contains("v needs"));
            Assert.That(() => DeltaOps.FusedRecurrentDeltaRule(q, q, q, v), Throws.TypeOf<ShapeException>().With.Message.Contains("beta needs the shape"));
            Assert.That(() => DeltaOps.FusedRecurrentDeltaRule(q, q, q, beta, initialState: q), Throws.TypeOf<ShapeException>().With.Message.Contains("initialState needs"));
            Assert.That(() => DeltaOps.FusedRecurrentDeltaRule(q, q, q, beta, finalState: q), Throws.TypeOf<ShapeException>().With.Message.Contains("finalState needs"));
            Assert.That(() => DeltaOps.ChunkDeltaRule(q, q, q, q), Throws.TypeOf<ShapeException>().With.Message.Contains("beta needs 3 axes"));
            Assert.That(() => DeltaOps.ChunkDeltaRule(q, q, q, beta, chunkSize: 24), Throws.TypeOf<ShapeException>().With.Message.Contains("chunkSize"));
            Assert.That(() => DeltaOps.ParallelDeltaRule(q, q, v, beta, 1), Throws.TypeOf<ShapeException>().With.Message.Contains("v needs the shape"));
            Assert.That(() => DeltaOps.ParallelDeltaRule(q, q, q, q, 1), Throws.TypeOf<ShapeException>().With.Message.Contains("beta needs 3 axes"));
            Assert.That(() => DeltaOps.FusedRecurrentDeltaRule(q, q, q, beta, scale: 0), Throws.TypeOf<ArgumentOutOfRangeException>());
        }
    }
}
