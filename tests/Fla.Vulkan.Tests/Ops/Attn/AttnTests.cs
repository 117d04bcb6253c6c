using System.Collections.Concurrent;
using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Attn;

public sealed class AttnTests(TestDevice device) : DeviceTests(device)
{
    /// <summary>A call with random inputs.</summary>
    private sealed record Case(int B = 2, int T = 45, int HQ = 2, int H = 2, int K = 20, int V = 24)
    {
        public int? Window { get; init; }

        public int[]? Packed { get; init; }

        public double? Scale { get; init; }

        public DType Type { get; init; } = DType.Float32;

        public double Tolerance => Type switch { DType.Float32 => 2e-5, DType.Float16 => 5e-3, _ => 2e-2 };

        public RefTensor this[string name] => Round(name switch
        {
            "q" => Inputs.Normal(1, B, T, HQ, K),
            "k" => Inputs.Normal(2, B, T, H, K),
            "v" => Inputs.Normal(3, B, T, H, V),
            _ => Inputs.Normal(4, B, T, HQ, V),
        });

        public RefResult Expected => Known.GetOrAdd(ToString(), _ => new(() => new AttentionReference
        {
            Q = this["q"], K = this["k"], V = this["v"], Scale = Scale, Window = Window, CuSeqlens = Packed, OutputGradient = this["do"],
        }.Run())).Value;

        public override string ToString() => $"{Type.ShortName()} B{B} T{T} H{HQ}/{H} K{K} V{V} window {Window}{(Packed is null ? "" : $" [{string.Join(' ', Packed)}]")}{(Scale is { } s ? $" scale {s}" : "")}";

        private RefTensor Round(RefTensor x) => Type switch { DType.Float16 => x.RoundToHalf(), DType.BFloat16 => x.RoundToBFloat16(), _ => x };

        private static readonly ConcurrentDictionary<string, Lazy<RefResult>> Known = new();
    }

    private static IEnumerable<Case> Cases()
    {
        var usual = new Case();
        yield return usual;
        yield return usual with { HQ = 6, B = 1, Scale = 0.7, T = 33 };
        yield return usual with { Window = 1, T = 5 };
        yield return usual with { Window = 17, HQ = 4, H = 1, B = 1, T = 70 };
        yield return usual with { Packed = [0, 3, 3, 40, 45], B = 1 };
        yield return usual with { Packed = [0, 36, 45], B = 1, HQ = 4, Window = 9 };
        yield return usual with { B = 1, T = 40, HQ = 1, H = 1, K = 64, V = 100 };
        yield return usual with { Type = DType.Float16, Window = 20 };
        yield return usual with { Type = DType.BFloat16, HQ = 4 };
    }

    [TestCaseSource(nameof(Cases))]
    public void FollowsItsDefinition(object of)
    {
        var c = (Case)of;
        using var packed = c.Packed is null ? null : new CuSeqlens(Device, c.Packed);
        var (q, k, v) = (Leaf(c, "q"), Leaf(c, "k"), Leaf(c, "v"));
        var o = AttnOps.ParallelAttn(q, k, v, (float?)c.Scale, c.Window, packed);
        Assert.That(o.DType, Is.EqualTo(c.Type));
        Compare(o, c.Expected.O, c.Tolerance, "o");
        Autograd.Backward(o, Upload(c, "do"));
        foreach (var (name, leaf) in new[] { ("q", q), ("k", k), ("v", v) })
        {
            Compare(leaf.Grad!, c.Expected.Grad(name), 2 * c.Tolerance, "grad." + name);
            leaf.Grad!.Dispose();
        }
    }

    [Test]
    public void GoldenCase()
    {
        using var golden = Golden.Open("ops/parallel_attn.safetensors");
        var leaves = new[] { "q", "k", "v" }.ToDictionary(name => name, name => Tensor.From(Device, golden["in." + name], golden.Shape("in." + name)));
        foreach (var leaf in leaves.Values) leaf.RequiresGrad = true;
        var o = AttnOps.ParallelAttn(leaves["q"], leaves["k"], leaves["v"]);
        ErrorRatio.AssertClose(o.ToSingle(), golden["o"], 1e-4, "o");
        Autograd.Backward(o, Tensor.From(Device, golden["do"], golden.Shape("do")));
        foreach (var (name, leaf) in leaves)
        {
            ErrorRatio.AssertClose(leaf.Grad!.ToSingle(), golden.Gradient(name), 1e-3, "grad." + name);
            leaf.Grad.Dispose();
        }
    }

    [Test]
    public void WidestHeadsFit()
    {
        var c = new Case(B: 1, T: 34, HQ: 1, H: 1, K: 256, V: 256);
        Compare(AttnOps.ParallelAttn(Upload(c, "q"), Upload(c, "k"), Upload(c, "v")), c.Expected.O, c.Tolerance, "o");
    }

    /// <summary>A prompt, then one token after another, then several at once: over rings that the window wraps around, and over ones with room for all.</summary>
    [TestCase(null, 64, DType.Float32)]
    [TestCase(9, 13, DType.Float32)]
    [TestCase(9, 13, DType.Float16)]
    [TestCase(9, 64, DType.BFloat16)]
    public void EarlierTokensAreInRings(int? window, int capacity, DType type)
    {
        var c = new Case(B: 2, T: 45, HQ: 4, H: 2) { Window = window, Type = type };
        Tensor q = Upload(c, "q"), k = Upload(c, "k"), v = Upload(c, "v"), lengths = Tensor.Zeros(Device, DType.Int32, 2);
        Tensor keys = Tensor.Zeros(Device, type, 2, capacity, 2, c.K), values = Tensor.Zeros(Device, type, 2, capacity, 2, c.V);
        List<Tensor> parts = [];
        var t = 0;
        foreach (var count in new[] { 20, 1, 1, 5, 1, 4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 })
        {
            Tensor Part(Tensor x) => Layouts.Slice(x, 1, t, count);
            if (t == 0)
            {
                parts.Add(AttnOps.ParallelAttn(Part(q), Part(k), Part(v), windowSize: window));
                AttnOps.RingAppendStep(Part(k), keys, lengths);
                AttnOps.RingAppendStep(Part(v), values, lengths);
            }
            else parts.Add(AttnOps.AttnDecodingStep(Part(q), Part(k), Part(v), keys, values, lengths, windowSize: window));
            AttnOps.LengthsStep(lengths, count);
            t += count;
        }
        Assert.That((t, lengths.ToInt32()[1]), Is.EqualTo((45, 45)));
        Compare(Layouts.Concat(1, [.. parts]), c.Expected.O, c.Tolerance, "o");
    }

    /// <summary>Sequences of other lengths, packed, each over its own ring.</summary>
    [Test]
    public void PackedSequencesHaveRingsOfTheirOwn()
    {
        var c = new Case(B: 1, T: 45, HQ: 2, H: 1) { Packed = [0, 30, 45], Window = 12 };
        Tensor q = Upload(c, "q"), k = Upload(c, "k"), v = Upload(c, "v"), lengths = Tensor.Zeros(Device, DType.Int32, 2);
        Tensor keys = Tensor.Zeros(Device, DType.Float32, 2, 15, 1, c.K), values = Tensor.Zeros(Device, DType.Float32, 2, 15, 1, c.V);
        using CuSeqlens before = new(Device, 0, 26, 37), after = new(Device, 0, 4, 8);
        Tensor Part(Tensor x, params (int First, int Count)[] parts) => Layouts.Concat(1, [.. parts.Select(p => Layouts.Slice(x, 1, p.First, p.Count))]);
        Tensor Start(Tensor x) => Part(x, (0, 26), (30, 11));
        Tensor Rest(Tensor x) => Part(x, (26, 4), (41, 4));
        AttnOps.RingAppendStep(Start(k), keys, lengths, before);
        AttnOps.RingAppendStep(Start(v), values, lengths, before);
        AttnOps.LengthsStep(lengths, 37, before);
        Assert.That(lengths.ToInt32(), Is.EqualTo(new[] { 26, 11 }));
        var o = AttnOps.AttnDecodingStep(Rest(q), Rest(k), Rest(v), keys, values, lengths, windowSize: 12, cuSeqlens: after);
        var all = Tensor.From(Device, c.Expected.O.ToFloats(), c.Expected.O.Shape);
        ErrorRatio.AssertClose(o.ToSingle(), Rest(all).ToSingle(), c.Tolerance, "o");
    }

    /// <summary>Gradients of a call's own tokens are those of the whole whose outputs before them get none.</summary>
    [Test]
    public void GradientsReachTheCallsOwnTokens([Values(null, 9)] int? window)
    {
        const int Before = 33;
        var c = new Case(B: 1, T: 45, HQ: 4, H: 2) { Window = window };
        var given = new RefTensor([.. c["do"].Data.Select((x, i) => i < Before * c.HQ * c.V ? 0 : x)], c["do"].Shape);
        var expected = new AttentionReference { Q = c["q"], K = c["k"], V = c["v"], Window = window, OutputGradient = given }.Run();
        Tensor lengths = Tensor.FromInt32(Device, [0], 1), keys = Tensor.Zeros(Device, DType.Float32, 1, 64, 2, c.K), values = Tensor.Zeros(Device, DType.Float32, 1, 64, 2, c.V);
        AttnOps.RingAppendStep(Layouts.Slice(Upload(c, "k"), 1, 0, Before), keys, lengths);
        AttnOps.RingAppendStep(Layouts.Slice(Upload(c, "v"), 1, 0, Before), values, lengths);
        AttnOps.LengthsStep(lengths, Before);
        Tensor Own(string name)
        {
            var leaf = Layouts.Slice(Upload(c, name), 1, Before, c.T - Before);
            leaf.RequiresGrad = true;
            return leaf;
        }

        var leaves = new[] { "q", "k", "v" }.ToDictionary(name => name, Own);
        var o = AttnOps.AttnDecodingStep(leaves["q"], leaves["k"], leaves["v"], keys, values, lengths, windowSize: window);
        AttnOps.LengthsStep(lengths, c.T - Before);
        Autograd.Backward(o, Layouts.Slice(Upload(c, "do"), 1, Before, c.T - Before));
        foreach (var (name, leaf) in leaves)
        {
            var all = expected.Grad(name);
            ErrorRatio.AssertClose(leaf.Grad!.ToSingle(), all.ToFloats().AsSpan(Before * all.Length / c.T), c.Tolerance, "grad." + name);
            leaf.Grad.Dispose();
        }
    }

    [Test]
    public void WrongArgumentsAreNamed()
    {
        Tensor q = Tensor.Zeros(Device, DType.Float32, 1, 4, 4, 8), k = Tensor.Zeros(Device, DType.Float32, 1, 4, 3, 8), wide = Tensor.Zeros(Device, DType.Float32, 1, 4, 1, 300);
        Tensor ring = Tensor.Zeros(Device, DType.Float32, 1, 6, 4, 8), few = Tensor.Zeros(Device, DType.Float32, 1, 3, 4, 8), lengths = Tensor.Zeros(Device, DType.Int32, 1), floats = Tensor.Zeros(Device, DType.Float32, 1);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(() => AttnOps.ParallelAttn(q, k, k), Throws.TypeOf<ShapeException>().With.Message.Contains("4 query heads are no multiple of 3"));
            Assert.That(() => AttnOps.ParallelAttn(wide, wide, wide), Throws.TypeOf<ShapeException>().With.Message.Contains("256 channels"));
            Assert.That(() => AttnOps.ParallelAttn(q, q, q.To(DType.Float16)), Throws.TypeOf<DTypeException>().With.Message.Contains("v needs"));
            Assert.That(() => AttnOps.ParallelAttn(q, q, q, windowSize: 0), Throws.TypeOf<ArgumentOutOfRangeException>());
            Assert.That(() => AttnOps.AttnDecodingStep(q, q, q, few, few, lengths, windowSize: 4), Throws.TypeOf<ShapeException>().With.Message.Contains("no room for 4 new tokens"));
            Assert.That(() => AttnOps.AttnDecodingStep(q, q, q, ring, ring, floats), Throws.TypeOf<DTypeException>().With.Message.Contains("lengths"));
            Assert.That(() => AttnOps.AttnDecodingStep(q, q, q, k, ring, lengths), Throws.TypeOf<ShapeException>().With.Message.Contains("keys"));
            Assert.That(() => AttnOps.RingAppendStep(k, ring, lengths), Throws.TypeOf<ShapeException>().With.Message.Contains("ring"));
            Assert.That(() => AttnOps.LengthsStep(floats, 1), Throws.TypeOf<DTypeException>());
        }
    }

    private Tensor Upload(Case c, string name) => Tensor.From(Device, c[name].ToFloats(), c[name].Shape, c.Type);

    private Tensor Leaf(Case c, string name)
    {
        var leaf = Upload(c, name);
        leaf.RequiresGrad = true;
        return leaf;
    }

    private static void Compare(Tensor actual, RefTensor expected, double tolerance, string name)
    {
        Assert.That(actual.Shape.ToArray(), Is.EqualTo(expected.Shape), name);
        var values = expected.ToFloats();
        // With one key the softmax is constant: what has to be zero is the difference of two sums in another order.
        if (Array.TrueForAll(values, x => x == 0)) Assert.That(actual.ToSingle().Max(Math.Abs), Is.LessThan(1e-5), name);
        else ErrorRatio.AssertClose(actual.ToSingle(), values, tolerance, name);
    }
}
