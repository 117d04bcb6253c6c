using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Linear;

public sealed class GlaTests(TestDevice device) : DeviceTests(device)
{
    private static IEnumerable<LinearCase> Cases()
    {
        var usual = new LinearCase();
        yield return usual;
        yield return usual with { HasStates = false, Scale = 0.3 };
        yield return usual with { B = 1, T = 15, K = 60, V = 100, H = 1, VFirst = true };
        yield return usual with { B = 1, T = 65, H = 1, K = 70, V = 37 };
        yield return usual with { B = 1, T = 40, H = 1, K = 128, V = 66 };
        yield return usual with { Normalizer = 0.01 };
        yield return usual with { Normalizer = 10, VFirst = true };
        yield return usual with { B = 1, T = 97, Packed = [0, 1, 17, 80, 80, 97], VFirst = true };
        yield return usual with { B = 1, T = 15, Packed = [0, 0, 15] };
        yield return usual with { Type = DType.Float16 };
        yield return usual with { Type = DType.BFloat16 };
        yield return usual with { Type = DType.Float16, GateType = DType.Float16, B = 1, T = 97, Packed = [0, 1, 17, 80, 80, 97] };
    }

    [TestCaseSource(nameof(Cases))]
    public void ChunkIsTheRecurrence(object of) => Chunk((LinearCase)of, null);

    [TestCase(16)]
    [TestCase(32)]
    public void ChunkLengthChangesNothing(int chunk) => Chunk(new LinearCase { B = 1, T = 75, Packed = [0, 33, 75] }, chunk);

    private void Chunk(LinearCase c, int? chunk)
    {
        var expected = Reference.Gla(c.Q, c.Key, c.Value, c.Gk, null, c.Scale, c.InitialState, c.Reverse, c.Packed, c.OutputGradient, c.FinalGradient);
        c.Check(Device, expected, [("gk", c.Gk)], (q, k, v, g, h0, packed) =>
            LinearOps.ChunkGla(q, k, v, g[0], (float?)c.Scale, h0, c.HasStates, c.VFirst, packed, chunk));
    }

    [TestCaseSource(nameof(Cases))]
    public void RecurrentIsTheRecurrence(object of) => Recurrent((LinearCase)of);

    [TestCase(false)]
    [TestCase(true)]
    public void RecurrentRunsBackwards(bool vFirst) => Recurrent(new LinearCase { B = 1, T = 40, Packed = [0, 7, 7, 40], Reverse = true, VFirst = vFirst });

    private void Recurrent(LinearCase c)
    {
        var expected = Reference.Gla(c.Q, c.Key, c.Value, c.Gk, c.Gv, c.Scale, c.InitialState, c.Reverse, c.Packed, c.OutputGradient, c.FinalGradient);
        c.Check(Device, expected, [("gk", c.Gk), ("gv", c.Gv)], (q, k, v, g, h0, packed) =>
            LinearOps.FusedRecurrentGla(q, k, v, g[0], g[1], (float?)c.Scale, h0, c.HasStates, c.Reverse, c.VFirst, packed));
    }

    /// <summary>The recurrence makes gates of low rank itself, in fp32, from the numbers as they are stored.</summary>
    [Test]
    public void GatesOfLowRank([Values(DType.Float32, DType.Float16, DType.BFloat16)] DType type, [Values(1, 6)] int tokens, [Values(12, 16)] int rank, [Values(30, 64)] int width)
    {
        var c = new LinearCase { B = 1, T = tokens, K = width, Type = type, HasGradients = false, VFirst = true };
        using var off = Autograd.NoGrad();
        Tensor q = LinearCase.Upload(Device, c.Q, type), k = LinearCase.Upload(Device, c.Key, type), v = LinearCase.Upload(Device, c.Value, type);
        var h0 = Make(Inputs.Normal(10, c.StateShape).ToFloats(), c.StateShape);
        Tensor x = Make(Inputs.Normal(11, 1, tokens, rank).ToFloats(), [1, tokens, rank], type), w = Make(Inputs.Normal(12, c.H * width, rank).ToFloats(), [c.H * width, rank], type);
        var b = Make(Inputs.Normal(13, c.H * width).ToFloats(), [c.H * width], type);
        RefTensor Stored(Tensor t) => new(t.ToSingle(), t.Shape.ToArray());
        var gates = Reference.Activation("logsigmoid", Reference.Linear(Stored(x), Stored(w), Stored(b)).O, 16).O;
        var expected = LinearOps.FusedRecurrentGla(q, k, v, Make(gates.ToFloats(), [1, tokens, c.H, width]), initialState: h0, outputFinalState: true, stateVFirst: true);
        var low = new LowRankGate(x, w, b, 16);
        Assert.That(low.IsTaken);
        var (o, state) = LinearOps.FusedRecurrentGla(q, k, v, low, initialState: h0, outputFinalState: true, stateVFirst: true);
        ErrorRatio.AssertClose(o.ToSingle(), expected.O.ToSingle(), type == DType.Float32 ? 1e-5 : 5e-3, "o");
        ErrorRatio.AssertClose(state!.ToSingle(), expected.FinalState!.ToSingle(), 1e-5, "state");
        Assert.Throws<ShapeException>(() => LinearOps.FusedRecurrentGla(q, k, v, low with { Weight = x }));
        Assert.Throws<DTypeException>(() => LinearOps.FusedRecurrentGla(q, k, v, low with { Bias = b.To(type == DType.Float32 ? DType.Float16 : DType.Float32) }));
    }

    [Test]
    public void EitherGateMayBeMissing()
    {
        var c = new LinearCase { T = 35 };
        c.Check(Device, Reference.Gla(c.Q, c.Key, c.Value, null, c.Gv, null, c.InitialState, false, null, c.OutputGradient, c.FinalGradient), [("gv", c.Gv)],
            (q, k, v, g, h0, _) => LinearOps.FusedRecurrentGla(q, k, v, null, g[0], null, h0, true));
        c.Check(Device, Reference.Gla(c.Q, c.Key, c.Value, c.Gk, null, null, c.InitialState, false, null, c.OutputGradient, c.FinalGradient), [("gk", c.Gk)],
            (q, k, v, g, h0, _) => LinearOps.FusedRecurrentGla(q, k, v, g[0], null, null, h0, true));
    }

    [TestCase(DType.Float32)]
    [TestCase(DType.Float16)]
    public void TokenByTokenInPlaceIsTheChunkedForm(DType type)
    {
        const int Prompt = 21, Steps = 5;
        var c = new LinearCase { B = 1, T = Prompt + Steps, Type = type, HasGradients = false };
        Tensor q = LinearCase.Upload(Device, c.Q, type), k = LinearCase.Upload(Device, c.Key, type), v = LinearCase.Upload(Device, c.Value, type);
        var g = LinearCase.Upload(Device, c.Gk, DType.Float32);
        var h0 = LinearCase.Upload(Device, c.InitialState!, DType.Float32);
        Tensor Rows(Tensor x, int start, int length)
        {
            using var flat = x.View(x.Size(1), x.Size(2), x.Size(3));
            using var rows = flat.Narrow(start, length);
            return rows.View(1, length, x.Size(2), x.Size(3));
        }

        var expected = Reference.Gla(c.Q, c.Key, c.Value, c.Gk, null, null, c.InitialState).O.ToFloats();
        var (_, state) = LinearOps.ChunkGla(Rows(q, 0, Prompt), Rows(k, 0, Prompt), Rows(v, 0, Prompt), Rows(g, 0, Prompt), initialState: h0, outputFinalState: true);
        var before = Device.Stream.Dispatches;
        var outputs = new List<float>();
        var steps = Enumerable.Range(Prompt, Steps).Select(t => LinearOps.FusedRecurrentGla(Rows(q, t, 1), Rows(k, t, 1), Rows(v, t, 1), Rows(g, t, 1),
            initialState: state, finalState: state)).ToList();
        Assert.That(Device.Stream.Dispatches - before, Is.EqualTo(Steps), "one dispatch a step");
        foreach (var (o, final) in steps)
        {
            Assert.That(final, Is.SameAs(state));
            outputs.AddRange(o.ToSingle());
        }
        ErrorRatio.AssertClose([.. outputs], expected.AsSpan(Prompt * c.H * c.V), c.ForwardTolerance, "o");
    }

    [Test]
    public void InPlaceStateNeedsNoRecording()
    {
        Tensor q = Tensor.Zeros(Device, DType.Float32, 1, 1, 1, 8), state = Tensor.Zeros(Device, DType.Float32, 1, 1, 8, 8);
        q.RequiresGrad = true;
        Assert.That(() => LinearOps.FusedRecurrentGla(q, q, q, initialState: state, finalState: state), Throws.TypeOf<ShapeException>().With.Message.Contains("finalState"));
    }

    [Test]
    public void FusedChunkWasRemoved()
    {
        var q = Tensor.Zeros(Device, DType.Float32, 1, 1, 1, 8);
#pragma warning disable CS0618 // the removed form is what is tested
        Assert.That(() => LinearOps.FusedChunkGla(q, q, q, q), Throws.TypeOf<NotSupportedException>().With.Message.Contains("ChunkGla"));
#pragma warning restore CS0618
    }

    [Test]
    public void InitialStateIsSinglePrecision()
    {
        Tensor q = Tensor.Zeros(Device, DType.Float32, 1, 4, 1, 8), state = Tensor.Zeros(Device, DType.Float16, 1, 1, 8, 8);
        Assert.That(() => LinearOps.ChunkGla(q, q, q, q, initialState: state), Throws.TypeOf<DTypeException>());
        Assert.That(() => LinearOps.FusedRecurrentGla(q, q, q, q, initialState: state), Throws.TypeOf<DTypeException>());
    }

    [Test]
    public void GoldenCase() => GoldenLinear.Check(Device, "chunk_gla", ["g"], (q, k, v, g) => LinearOps.ChunkGla(q, k, v, g[0], outputFinalState: true));

    [Test]
    public void WidestHeadsFit([Values] bool chunked)
    {
        var c = new LinearCase(B: 1, T: 18, H: 1, K: 256, V: 512) { Type = DType.Float16 };
        var expected = Reference.Gla(c.Q, c.Key, c.Value, c.Gk, null, null, c.InitialState, false, null, c.OutputGradient, c.FinalGradient);
        c.Check(Device, expected, [("gk", c.Gk)], (q, k, v, g, h0, _) => chunked
            ? LinearOps.ChunkGla(q, k, v, g[0], null, h0, true)
            : LinearOps.FusedRecurrentGla(q, k, v, g[0], null, null, h0, true));
    }

    [Test]
    public void GradientsAreBitIdenticalFromRunToRun()
    {
        var c = new LinearCase { Type = DType.Float16 };
        float[][] Gradients()
        {
            using var scope = Device.Scope();
            var leaves = new[] { (c.Q, c.Type), (c.Key, c.Type), (c.Value, c.Type), (c.Gk, DType.Float32) }.Select(x => LinearCase.Upload(Device, x.Item1, x.Item2)).ToArray();
            foreach (var leaf in leaves) leaf.RequiresGrad = true;
            var (o, _) = LinearOps.ChunkGla(leaves[0], leaves[1], leaves[2], leaves[3]);
            Autograd.Backward(o, LinearCase.Upload(Device, c.OutputGradient!, c.Type));
            return [o.ToSingle(), .. leaves.Select(x => x.Grad!.ToSingle())];
        }

        var once = Gradients();
        Assert.That(Gradients(), Is.EqualTo(once));
    }

    [Test]
    public void CapturedCallReplaysWithOtherBoundaries()
    {
        var c = new LinearCase { B = 1, T = 50, HasGradients = false };
        int[] first = [0, 20, 20, 50], second = [0, 3, 37, 50];
        Tensor q = LinearCase.Upload(Device, c.Q, DType.Float32), k = LinearCase.Upload(Device, c.Key, DType.Float32), v = LinearCase.Upload(Device, c.Value, DType.Float32);
        var g = LinearCase.Upload(Device, c.Gk, DType.Float32);
        using var packed = new CuSeqlens(Device, first);
        LinearOps.ChunkGla(q, k, v, g, cuSeqlens: packed);
        Tensor o = null!;
        using var graph = Device.Stream.Capture(() => o = LinearOps.ChunkGla(q, k, v, g, cuSeqlens: packed).O);
        foreach (var boundaries in new[] { first, second })
        {
            packed.Set(boundaries);
            graph.Replay();
            LinearCase.Compare("o", o, Reference.Gla(c.Q, c.Key, c.Value, c.Gk, cuSeqlens: boundaries).O, 1e-5);
        }
        o.Dispose();
    }
}
