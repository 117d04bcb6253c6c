using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Delta;

/// <summary>Kimi delta attention over a pool of states, against the recurrence of each token by itself.</summary>
public sealed class KdaServingTests(TestDevice device) : DeviceTests(device)
{
    private const int Capacity = 11;

    private static IEnumerable<DeltaCase> Cases()
    {
        var usual = new DeltaCase(B: 1, T: 7, H: 2, K: 20, V: 40) { HasGradients = false, HasUnitKeys = false, HasRawBeta = true };
        foreach (var type in new[] { DType.Float32, DType.Float16, DType.BFloat16 })
        {
            yield return usual with { Type = type, Packed = [0, 3, 3, 4, 7] };
            yield return usual with { Type = type, Packed = [0, 1, 4, 6, 7], H = 1, Groups = 2, VFirst = true };
        }
        yield return usual with { B = 4, T = 2 };
    }

    [TestCaseSource(nameof(Cases))]
    public void TokensHaveTheirSlots(object of)
    {
        var c = (DeltaCase)of;
        int[] first = [0, 5, 2, 9, 10, 3, 8, -1, -1, 4, 1, 7], second = [2, 0, 5, 3, 10, 9, -1, 8, 6, 7, 4, 1];
        var pool = Pool(c);
        var states = DeltaCase.Upload(Device, c.Laid(pool), DType.Float32);
        using var packed = c.Packed is null ? null : new CuSeqlens(Device, c.Packed);
        using var slots = new StateSlots(Device, Capacity, 4, first);
        using (Assert.EnterMultipleScope())
        {
            Check(c, Call(c, states, slots, packed).O, Expect(c, pool, first, 3, [1, 1, 1, 1]), states, pool);
            slots.Set(second, [3, 1, 1, 2]);
            Check(c, Call(c, states, slots, packed).O, Expect(c, pool, second, 3, [3, 1, 1, 2]), states, pool);
        }
    }

    [TestCaseSource(nameof(Cases))]
    public void SequencesHaveTheirSlot(object of)
    {
        var c = (DeltaCase)of;
        int[] own = [4, 0, -1, 9];
        var pool = Pool(c);
        var states = DeltaCase.Upload(Device, c.Laid(pool), DType.Float32);
        using var packed = c.Packed is null ? null : new CuSeqlens(Device, c.Packed);
        using var slots = new StateSlots(Device, Capacity, 4, own);
        using (Assert.EnterMultipleScope()) Check(c, Call(c, states, slots, packed).O, Expect(c, pool, own, 1, [1, 1, 1, 1]), states, pool);
    }

    [Test]
    public void StatesMayBeReturnedInstead([Values] bool vFirst, [Values] bool wanted)
    {
        var c = new DeltaCase(B: 1, T: 4, H: 1, K: 20, V: 40) { HasGradients = false, HasUnitKeys = false, HasRawBeta = true, Packed = [0, 3, 4], VFirst = vFirst };
        var pool = Pool(c);
        var states = DeltaCase.Upload(Device, c.Laid(pool), DType.Float32);
        using var packed = new CuSeqlens(Device, c.Packed!);
        using var slots = new StateSlots(Device, Capacity, 2, [7, 2]);
        var (o, after) = Call(c, states, slots, packed, inPlace: false, wanted);
        List<RefTensor> all = [];
        DeltaCase.Compare("o", o, Expect(c, pool, [7, 2], 1, [1, 1], all), c.ForwardTolerance);
        Assert.That(after is not null, Is.EqualTo(wanted));
        if (wanted) DeltaCase.Compare("states", after!, c.Laid(new([.. all.SelectMany(x => x.Data)], c.T, c.HV, c.K, c.V)), c.ForwardTolerance);
        Assert.That(states.ToSingle(), Is.EqualTo(c.Laid(Pool(c)).ToFloats()));
    }

    [Test]
    public void AReplayedGraphTakesOtherSlots()
    {
        var c = new DeltaCase(B: 2, T: 1, H: 1, K: 20, V: 40) { HasGradients = false, HasUnitKeys = false, HasRawBeta = true };
        var pool = Pool(c);
        var states = DeltaCase.Upload(Device, pool, DType.Float32);
        using var slots = new StateSlots(Device, Capacity, 2, [3, 8]);
        var call = Inputs(c);
        Tensor? o = null;
        using var graph = Device.Stream.Capture(() => o = call(states, slots, null, true, false).O);
        foreach (var own in new[] { new[] { 3, 8 }, [8, 0] })
        {
            slots.Set(own);
            graph.Replay();
            using (Assert.EnterMultipleScope()) Check(c, o!, Expect(c, pool, own, 1, [1, 1]), states, pool);
        }
        o!.Dispose();
    }

    [TestCase(2, new[] { 0, 11 }, new int[0], "no slot 11")]
    [TestCase(2, new[] { 0, -2 }, new int[0], "no slot -2")]
    [TestCase(2, new[] { 3, 4, 5, 3 }, new int[0], "slot 3 stands in the sequences 0 and 1")]
    [TestCase(2, new[] { 0, 1 }, new[] { 1, 2 }, "numAcceptedTokens of sequence 1 is 2")]
    [TestCase(2, new[] { 0, 1 }, new[] { 0, 1 }, "numAcceptedTokens of sequence 0 is 0")]
    public void SlotsAreOnesOfThePool(int sequences, int[] indices, int[] accepted, string message) =>
        Assert.That(() => new StateSlots(Device, Capacity, sequences, indices, accepted), Throws.TypeOf<IndexException>().With.Message.Contains(message));

    [TestCase(2, new[] { 0, 1, 2 }, new int[0])]
    [TestCase(2, new int[0], new int[0])]
    [TestCase(0, new[] { 1 }, new int[0])]
    [TestCase(2, new[] { 0, 1 }, new[] { 1 })]
    public void AllSequencesHaveAsMany(int sequences, int[] indices, int[] accepted) =>
        Assert.That(() => new StateSlots(Device, Capacity, sequences, indices, accepted), Throws.TypeOf<ShapeException>());

    [Test]
    public void WrongArgumentsAreNamed()
    {
        Tensor q = Tensor.Zeros(Device, DType.Float32, 2, 3, 1, 8), pool = Tensor.Zeros(Device, DType.Float32, 4, 1, 8, 8), half = Tensor.Zeros(Device, DType.Float16, 4, 1, 8, 8);
        using StateSlots two = new(Device, 4, 2, [0, 1]), three = new(Device, 4, 3, [0, 1, 2]), few = new(Device, 4, 2, [0, 1, 2, 3]), large = new(Device, 5, 2, [0, 1]);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(() => DeltaOps.FusedRecurrentKdaFwd(q, q, q, q, null, pool, three), Throws.TypeOf<ShapeException>().With.Message.Contains("3 sequences"));
            Assert.That(() => DeltaOps.FusedRecurrentKdaFwd(q, q, q, q, null, pool, few), Throws.TypeOf<ShapeException>().With.Message.Contains("one has 3 tokens"));
            Assert.That(() => DeltaOps.FusedRecurrentKdaFwd(q, q, q, q, null, pool, large), Throws.TypeOf<ShapeException>().With.Message.Contains("[5, 1, 8, 8]"));
            Assert.That(() => DeltaOps.FusedRecurrentKdaFwd(q, q, q, q, null, half, two), Throws.TypeOf<DTypeException>());
            Assert.That(() => two.Set([0]), Throws.TypeOf<ShapeException>());
            q.RequiresGrad = true;
            Assert.That(() => DeltaOps.FusedRecurrentKdaFwd(q, q, q, q, null, pool, two), Throws.TypeOf<AutogradException>());
        }
    }

    private static RefTensor Pool(DeltaCase c) => Testing.References.Inputs.Normal(20, Capacity, c.HV, c.K, c.V);

    private (Tensor O, Tensor? FinalState) Call(DeltaCase c, Tensor pool, StateSlots slots, CuSeqlens? packed, bool inPlace = true, bool wanted = false) =>
        Inputs(c)(pool, slots, packed, inPlace, wanted);

    /// <summary>The op on the case's inputs, which are uploaded once.</summary>
    private Func<Tensor, StateSlots, CuSeqlens?, bool, bool, (Tensor O, Tensor? FinalState)> Inputs(DeltaCase c)
    {
        var x = new[] { "q", "k", "v", "gk", "beta", "A_log", "bias4" }.ToDictionary(name => name, name => DeltaCase.Upload(Device, c[name], c.TypeOf(name)));
        return (pool, slots, packed, inPlace, wanted) => DeltaOps.FusedRecurrentKdaFwd(x["q"], x["k"], x["v"], x["gk"], x["beta"], pool, slots, null, wanted, inPlace, true, true,
            x["A_log"], x["bias4"], useBetaSigmoidInKernel: true, stateVFirst: c.VFirst, cuSeqlens: packed);
    }

    private static void Check(DeltaCase c, Tensor o, RefTensor expected, Tensor states, RefTensor pool)
    {
        DeltaCase.Compare("o", o, expected, c.ForwardTolerance);
        DeltaCase.Compare("pool", states, c.Laid(pool), 2e-5);
        // Slots that no sequence has are as they were, to the bit.
        int width = c.HV * c.K * c.V;
        var (now, then, before) = (states.ToSingle(), c.Laid(pool).ToFloats(), c.Laid(Pool(c)).ToFloats());
        foreach (var slot in Enumerable.Range(0, Capacity).Where(s => then.AsSpan(s * width, width).SequenceEqual(before.AsSpan(s * width, width))))
        {
            Assert.That(now.AsSpan(slot * width, width).SequenceEqual(before.AsSpan(slot * width, width)), $"slot {slot}");
        }
    }

    /// <summary>o token by token; the pool is changed as the op should.</summary>
    private static RefTensor Expect(DeltaCase c, RefTensor pool, int[] slots, int perSequence, int[] accepted, List<RefTensor>? all = null)
    {
        var boundaries = c.Packed ?? [.. Enumerable.Range(0, c.B + 1).Select(b => b * c.T)];
        int width = c.HV * c.K * c.V;
        var o = new double[c.B * c.T * c.HV * c.V];
        for (var n = 0; n < boundaries.Length - 1; n++)
        {
            var start = slots[n * perSequence + accepted[n] - 1];
            var state = start < 0 ? RefTensor.Zeros(1, c.HV, c.K, c.V) : new([.. pool.Data[(start * width)..((start + 1) * width)]], 1, c.HV, c.K, c.V);
            for (var t = boundaries[n]; t < boundaries[n + 1]; t++)
            {
                RefTensor Token(string name)
                {
                    var x = c[name];
                    var size = x.Length / (c.B * c.T);
                    return new([.. x.Data[(t * size)..((t + 1) * size)]], [1, 1, .. x.Shape[2..]]);
                }

                var step = new DeltaRecurrence
                {
                    Q = Token("q"), K = Token("k"), V = Token("v"), Gk = Token("gk"), Beta = Token("beta"), UseQkL2Norm = true, UseGate = true, ALog = c["A_log"], DtBias = c["bias4"],
                    UseBetaSigmoid = true, InitialState = state,
                }.Run();
                step.O.Data.CopyTo(o, t * c.HV * c.V);
                state = step.FinalState;
                all?.Add(state);
                var slot = perSequence > 1 ? slots[n * perSequence + t - boundaries[n]] : t == boundaries[n + 1] - 1 ? slots[n] : -1;
                if (slot >= 0 && all is null) state.Data.CopyTo(pool.Data, slot * width);
            }
        }
        return new(o, c.B, c.T, c.HV, c.V);
    }
}
