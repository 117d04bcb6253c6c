namespace Fla.Vulkan.Ops;

/// <summary>
/// RECUR: the additive memory one token at a time, with its gradients (shaders/linear/recurrent.comp). Forward and backward are the same scan:
/// dq reads the transposed state forwards, dk and dv the gradient of the state backwards.
/// </summary>
internal static class Recurrence
{
    private const int Columns = 32;
    private const int Groups = 8;

    private static readonly Kernel<Args> Kernel = new("linear/recurrent");

    private readonly record struct Args(In R, In W, In X, Out O, In G, In Gamma, In Gk, In Gv, In H0, Out Ht, In Packed,
        uint T, uint H, uint K, uint V, uint Groups, float Scale, float WriteScale, float DecayKind);

    [Flags]
    private enum Walk : uint
    {
        None = 0,
        Reverse = 1,
        DecayAfter = 2,
        Transposed = 4,
        OutputFloat32 = 8,
        GatesFloat32 = 16,
        HasState = 32,
        HasG = 64,
        HasGk = 128,
        HasGv = 256,
        Quads = 512,
    }

    /// <summary>Log decays; any may be null. The tensors have one type: q's or fp32.</summary>
    internal readonly record struct Gates(Tensor? G, HeadDecay Decay, Tensor? Gk = null, Tensor? Gv = null)
    {
        public Gates Transposed => this with { Gk = Gv, Gv = Gk };

        public DType? Type => (G ?? Gk ?? Gv)?.DType;

        public Gates To(DType type) => new(G?.To(type), Decay, Gk?.To(type), Gv?.To(type));

        /// <summary>In the place of all others, and without gradients.</summary>
        public LowRankGate? LowRank { get; init; }

        public bool HaveOneType(DType type) => (G?.DType ?? type) == type && (Gk?.DType ?? type) == type && (Gv?.DType ?? type) == type;
    }

    private sealed record Saved(LinearShape Shape, float DecayKind, float Scale, bool Reverse, bool VFirst);

    /// <summary>Runs the recurrence and records its gradients.</summary>
    /// <returns>o [B,T,H,V] in q's type, and the final state if it is wanted or <paramref name="finalState"/> is given.</returns>
    public static (Tensor O, Tensor? FinalState) Run(LinearShape shape, Tensor q, Tensor k, Tensor v, Gates gates, float scale,
        Tensor? initialState, bool outputFinalState, bool reverse, bool stateVFirst, Tensor? finalState)
    {
        using var scope = new TensorScope();
        if (!gates.HaveOneType(q.DType)) gates = gates.To(DType.Float32);
        if (initialState is { } given && given.DType != DType.Float32) initialState = given.To(DType.Float32);
        var isRecording = Autograd.IsRecording(q, k, v, gates.G, gates.Gk, gates.Gv, initialState, gates.LowRank?.Input, gates.LowRank?.Weight, gates.LowRank?.Bias);
        if (isRecording && gates.LowRank is not null) throw new AutogradException("a gate of low rank inside of the recurrence has no gradient: make the gate before it, or turn recording off");
        if (finalState is not null)
        {
            Require.That(!isRecording, "finalState can be written in place only where no gradients are recorded");
            Require.SameDevice(q, finalState);
            Require.Type(finalState, DType.Float32, "finalState");
            Require.Shape(finalState, "finalState", shape.State(stateVFirst));
        }

        var o = Tensor.Empty(q.Device, q.DType, shape.B, shape.T, shape.H, shape.V);
        var ht = finalState ?? (outputFinalState ? Tensor.Empty(q.Device, DType.Float32, shape.State(stateVFirst)) : null);
        var walk = (reverse ? Walk.Reverse : 0) | (stateVFirst ? Walk.Transposed : 0);
        Scan(shape, q, k, v, gates, initialState, ht, o, walk, scale, 1);
        if (isRecording)
        {
            Autograd.Record("fused_recurrent", [q, k, v, gates.G, gates.Gk, gates.Gv, initialState], ht is null ? [o] : [o, ht],
                [q, k, v, gates.G, gates.Gk, gates.Gv, initialState, gates.Decay.Gamma, ht], Backward,
                new Saved(shape, gates.Decay.Kind, scale, reverse, stateVFirst));
        }
        return (scope.Keep(o), ht is null ? null : scope.Keep(ht));
    }

    private static Tensor?[] Backward(BackwardContext ctx, Tensor?[] dy)
    {
        Tensor q = ctx.Saved(0)!, k = ctx.Saved(1)!, v = ctx.Saved(2)!;
                Tensor? h0 = ctx.Saved(6), ht = ctx.Saved(8);
        var (shape, kind, scale, reverse, vFirst) = ctx.State<Saved>();
        var gates = new Gates(ctx.Saved(3), new(ctx.Saved(7), kind), ctx.Saved(4), ctx.Saved(5));
        var dO = dy[0]?.To(q.DType) ?? Tensor.Zeros(q.Device, q.DType, v.Shape);
        var dht = ht is null ? null : dy[1]?.To(DType.Float32);

        bool needsG = ctx.Needs(3), needsGk = ctx.Needs(4), needsGv = ctx.Needs(5);
        var type = needsG || needsGk || needsGv ? DType.Float32 : q.DType;
        Tensor dq = Tensor.EmptyLike(q, type), dk = Tensor.EmptyLike(k, type), dv = Tensor.EmptyLike(v, type);
        var dh0 = h0 is null ? null : Tensor.EmptyLike(h0);

        var straight = vFirst ? Walk.Transposed : Walk.None;
        var turned = straight ^ Walk.Transposed;
        var along = reverse ? Walk.Reverse : Walk.None;
        var back = along ^ Walk.Reverse | Walk.DecayAfter;
        Scan(shape.Transposed, dO, v, k, gates.Transposed, h0, null, dq, turned | along, scale, 1);
        Scan(shape.Transposed, v, dO, q, gates.Transposed, dht, null, dk, turned | back, 1, scale);
        Scan(shape, k, q, dO, gates, dht, dh0, dv, straight | back, 1, scale);

        var order = reverse ? ChunkCumsum.Order.Forward : ChunkCumsum.Order.Reverse;
        Tensor? dg = null, dgk = null, dgv = null;
        int heads = shape.N * shape.H, rows = shape.Tokens * shape.H;
        if (needsG)
        {
            using var terms = RowDot.Of(q, dq, rows, shape.K, 1, k, dk);
            using var start = dht is null ? null : RowDot.Of(ht!, dht, heads, shape.K * shape.V);
            dg = Tensor.EmptyLike(gates.G!, DType.Float32);
            ChunkCumsum.Sequences(shape, new(terms), shape.H, dg, order, start);
        }
        if (needsGk)
        {
            using var start = dht is null ? null : SumStates(ht!, dht, heads, shape.K, shape.V, alongLast: !vFirst);
            dgk = Tensor.EmptyLike(gates.Gk!, DType.Float32);
            ChunkCumsum.Sequences(shape, new(q, dq, k, dk), shape.H * shape.K, dgk, order, start);
        }
        if (needsGv)
        {
            using var start = dht is null ? null : SumStates(ht!, dht, heads, shape.V, shape.K, alongLast: vFirst);
            using var o = Tensor.EmptyLike(v, DType.Float32);
            Scan(shape, q, k, v, gates, h0, null, o, straight | along, scale, 1);
            dgv = Tensor.EmptyLike(gates.Gv!, DType.Float32);
            ChunkCumsum.Sequences(shape, new(dO, o, v, dv), shape.H * shape.V, dgv, order, start);
        }
        return [dq.To(q.DType), dk.To(q.DType), dv.To(q.DType), dg, dgk, dgv, dh0];
    }

    /// <summary>Σ over the other axis of ht ⊙ dht, for each of <paramref name="kept"/> channels of every head.</summary>
    private static Tensor SumStates(Tensor ht, Tensor dht, int heads, int kept, int summed, bool alongLast) =>
        alongLast ? RowDot.Of(ht, dht, heads * kept, summed) : RowDot.Of(ht, dht, heads, summed, kept);

    private static void Scan(LinearShape shape, Tensor r, Tensor w, Tensor x, Gates gates, Tensor? h0, Tensor? ht, Tensor o, Walk walk, float scale, float writeScale)
    {
        if (o.DType == DType.Float32) walk |= Walk.OutputFloat32;
        if (gates.Type == DType.Float32) walk |= Walk.GatesFloat32;
        walk |= (h0 is null ? 0 : Walk.HasState) | (gates.G is null ? 0 : Walk.HasG) | (gates.Gk is null ? 0 : Walk.HasGk) | (gates.Gv is null ? 0 : Walk.HasGv)
            | (shape.K % 4 == 0 ? Walk.Quads : 0);
        var groups = (long)shape.N * shape.H * ((shape.V + Columns - 1) / Columns);
        uint rows = shape.K switch { <= 64 => 8, <= 128 => 16, <= 256 => 32, _ => 64 };
        var (gamma, gk, gv, kind) = gates.LowRank is { } low ? (low.Bias, low.Input, low.Weight, 1 / low.Normalizer) : (gates.Decay.Gamma, gates.Gk, gates.Gv, gates.Decay.Kind);
        Kernel.Launch(r.Device,
            new(r, w, x, o, gates.G, gamma, gk, gv, h0, ht, shape.Packed?.Starts,
                (uint)shape.T, (uint)shape.H, (uint)shape.K, (uint)shape.V, (uint)groups, scale, writeScale, kind),
            Grid.Linear(groups), r.DType.Variant(), Columns * Groups, rows, (uint)walk, (uint)(gates.LowRank?.Rank ?? 0));
    }
}
