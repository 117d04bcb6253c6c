namespace Fla.Vulkan.Ops;

/// <summary>
/// One call of an op of the delta family as its caller gave it: Ŝ = decay(S), S ← Ŝ + k β(w ⊙ v − Ŝᵀ(b ⊙ p))ᵀ, o = scale · Sᵀ q. What an op lacks is null.
/// </summary>
internal sealed record DeltaRule
{
    public required Tensor Q { get; init; }

    public required Tensor K { get; init; }

    public required Tensor V { get; init; }

    /// <summary>Erase rows [B,T,H,K]; the keys when null.</summary>
    public Tensor? P { get; init; }

    /// <summary>Factors of the erase rows [B,T,H,K].</summary>
    public Tensor? EraseGate { get; init; }

    /// <summary>Factors of the values [B,T,HV,V].</summary>
    public Tensor? WriteGate { get; init; }

    /// <summary>Step sizes [B,T,HV], in the recurrent form also [B,T,HV,V].</summary>
    public Tensor? Beta { get; init; }

    /// <summary>Log decay a head [B,T,HV].</summary>
    public Tensor? G { get; init; }

    /// <summary>Log decay a key channel [B,T,HV,K].</summary>
    public Tensor? Gk { get; init; }

    /// <summary>Log decay a value channel [B,T,HV,V].</summary>
    public Tensor? Gv { get; init; }

    /// <summary>
    /// Where the correction is written [B,T,H,K], for the generalized rule S ← diag(e^gk) S + b (Sᵀp)ᵀ + k vᵀ; with <see cref="IsProduct"/> times <see cref="P"/>.
    /// </summary>
    public Tensor? B { get; init; }

    /// <summary>RWKV7's kk and its rate stand for −p and b.</summary>
    public bool IsProduct { get; init; }

    /// <summary>Names of p and b in messages.</summary>
    public (string P, string B) Names { get; init; } = ("p", "b");

    /// <summary>Scans every sequence from its last token to its first; only one token after another, and without gradients.</summary>
    public bool Reverse { get; init; }

    /// <summary>Corrections a token, n: k, p, v, β and the factors have T·n rows. The decay comes before the first, q reads after the last.</summary>
    public int Householders { get; init; } = 1;

    /// <summary>The correction reads S before its decay.</summary>
    public bool ReadsUndecayed { get; init; }

    public DeltaActivations Activations { get; init; }

    public float? Scale { get; init; }

    public Tensor? InitialState { get; init; }

    public bool OutputFinalState { get; init; }

    public bool StateVFirst { get; init; }

    public CuSeqlens? CuSeqlens { get; init; }

    private Tensor?[] Inputs => [Q, K, V, P, EraseGate, WriteGate, Beta, G, Gk, Gv, InitialState, Activations.ALog, Activations.DtBias, B];

    /// <summary>Factor of q.</summary>
    public float ScaleOf(int channels) => Scale ?? 1 / MathF.Sqrt(channels);

    /// <summary>One token after another, in one dispatch. Gradients are those of the chunked form.</summary>
    /// <exception cref="AutogradException">An input requires a gradient and the scan runs backwards.</exception>
    public (Tensor O, Tensor? FinalState) Recurrent(Tensor? finalState)
    {
        using var scope = new TensorScope();
        var shape = Check();
        var ht = RecurrentDelta.FinalState(shape, Q, OutputFinalState, StateVFirst, finalState, Inputs);
        var isRecording = Autograd.IsRecording(Inputs);
        if (isRecording && Reverse) throw new AutogradException("a delta rule with reverse has no gradients: turn the sequences around and call it without");
        var o = RecurrentDelta.Run(shape, this, InitialState?.To(DType.Float32), ht);
        if (isRecording) Autograd.RecordReplay("fused_recurrent_delta_rule", Inputs, ht is null ? [o] : [o, ht], Replay);
        return (scope.Keep(o), ht is null ? null : scope.Keep(ht));
    }

    /// <summary>One token after another over a pool of states, <see cref="InitialState"/>, in which each sequence has slots.</summary>
    /// <param name="slots">The slots of the sequences.</param>
    /// <param name="inPlace">The states go to the slots; otherwise they are returned.</param>
    /// <returns>o, and the state after each token [B·T,HV,K,V] if it is wanted and does not stay in the pool.</returns>
    /// <exception cref="AutogradException">An input requires a gradient.</exception>
    public (Tensor O, Tensor? TokenStates) Paged(StateSlots slots, bool inPlace)
    {
        if (Autograd.IsRecording(Inputs)) throw new AutogradException("a delta rule over a pool of states has no gradients: call it without ssmStateIndices, or inside Autograd.NoGrad");
        using var scope = new TensorScope();
        var shape = (this with { InitialState = null }).Check();
        ArgumentNullException.ThrowIfNull(InitialState);
        if (slots.Device != Q.Device) throw new DeviceException($"ssmStateIndices live on {slots.Device.Name}, q on {Q.Device.Name}");
        Require.SameDevice(Q, InitialState);
        Require.Type(InitialState, DType.Float32, "initialState");
        Require.Shape(InitialState, "initialState", shape.States(slots.Capacity, StateVFirst));
        Require.That(slots.Count == shape.N, $"ssmStateIndices has slots for {slots.Count} sequences, there are {shape.N}");
        var longest = shape.Packed?.Longest ?? shape.T;
        Require.That(slots.PerSequence == 1 || longest <= slots.PerSequence, $"ssmStateIndices has {slots.PerSequence} slots a sequence, one has {longest} tokens");
        var states = inPlace ? InitialState : OutputFinalState ? Tensor.Empty(Q.Device, DType.Float32, shape.States(shape.Tokens, StateVFirst)) : null;
        var o = RecurrentDelta.Run(shape, this, InitialState, states, slots, hasTokenStates: !inPlace);
        if (inPlace) InitialState.Storage.Version++;
        return (scope.Keep(o), inPlace || states is null ? null : scope.Keep(states));
    }

    /// <summary>In chunks. Records its gradients.</summary>
    public (Tensor O, Tensor? FinalState) Chunk(int chunk)
    {
        ChunkTiles.Check(chunk);
        using var scope = new TensorScope();
        var shape = Check();
        if (Householders > 1) return Stretch(shape, chunk, scope);
        if (B is not null) return Generalized(shape, chunk, scope);
        var inner = Activate(shape, chunk);
        var (o, ht, _) = Gv is null && inner.Beta is not { Rank: 4 } ? Heads(inner) : Columns(inner);
        return (scope.Keep(o), ht is null ? null : scope.Keep(ht));
    }

    /// <summary>In chunks, with the state that enters each.</summary>
    /// <returns>o, the final state, and [B,NT,HV,K,V] in q's type, NT the chunks of a batch row.</returns>
    /// <exception cref="AutogradException">An input requires a gradient.</exception>
    public (Tensor O, Tensor? FinalState, Tensor States) ChunkWithStates(int chunk)
    {
        ChunkTiles.Check(chunk);
        if (Autograd.IsRecording(Inputs)) throw new AutogradException("the states between chunks have no gradients: ask for them inside Autograd.NoGrad");
        using var scope = new TensorScope();
        var shape = Check();
        var (o, ht, states) = Heads(Activate(shape, chunk));
        var count = CuSeqlens?.ChunkCount(chunk) ?? shape.Chunks(chunk);
        if (count < states.Size(0)) states = Layouts.Slice(states, 0, 0, count);
        if (StateVFirst) states = Transposes.LastTwo(states);
        return (scope.Keep(o), ht is null ? null : scope.Keep(ht), scope.Keep(states.View([shape.B, count / shape.B, .. states.Shape[1..]])));
    }

    private Operands Activate(LinearShape shape, int chunk)
    {
        var groups = shape.H / Q.Size(2);
        // Where the kernel that reads the rows first can divide them by their lengths, it does; under a gate of channels it records no gradients.
        var areUnit = Activations.UseQkL2Norm && Gv is null && P is null && EraseGate is null && Beta is not { Rank: 4 }
            && (Gk is null ? groups == 1 : G is null && !Autograd.IsRecording(Inputs));
        Tensor OfHeads(Tensor x) => Rows.RepeatHeads(areUnit ? x : Activations.Normalized(x), groups);
        var (q, k) = (OfHeads(Q), OfHeads(K));
        var erase = P is null ? k : Rows.RepeatHeads(Activations.Normalized(P), groups);
        if (EraseGate is { } b) erase = Elementwise.Mul(erase, Rows.RepeatHeads(b, groups));
        var v = WriteGate is { } w ? Elementwise.Mul(V, w) : V;
        return new(shape, chunk, q, k, erase, v, Activations.StepSize(Beta), G is null ? null : Activations.Gate(G), G is null ? Activations.Gate(Gk) : Gk, areUnit);
    }

    /// <summary>Several corrections a token are one each on a sequence of T·n rows: the decay comes with a token's first row, the query with its last.</summary>
    private (Tensor O, Tensor? FinalState) Stretch(LinearShape shape, int chunk, TensorScope scope)
    {
        int tokens = shape.Tokens, n = Householders;
        Tensor Rows(Tensor x, int place)
        {
            int[] rest = [.. x.Shape[2..]];
            Tensor Zeros(int rows) => Tensor.Zeros(x.Device, x.DType, [tokens, rows, .. rest]);
            return Layouts.Concat(1, Zeros(place), x.View([tokens, 1, .. rest]), Zeros(n - 1 - place)).View([shape.B, shape.T * n, .. rest]);
        }

        var (o, ht) = (this with
        {
            Q = Rows(Q, n - 1), G = G is null ? null : Rows(G, 0), Householders = 1, CuSeqlens = CuSeqlens?.Stretched(n),
        }).Chunk(chunk);
        o = Layouts.Slice(o.View(tokens, n, shape.H, shape.V), 1, n - 1, 1).View(shape.B, shape.T, shape.H, shape.V);
        return (scope.Keep(o), ht is null ? null : scope.Keep(ht));
    }

    private (Tensor O, Tensor? FinalState) Generalized(LinearShape shape, int chunk, TensorScope scope)
    {
        var (a, b) = IsProduct ? (Elementwise.Scale(P!, -1), Elementwise.Mul(P!, B!)) : (P!, B!);
        var (o, ht) = DplrChunk.Run(shape, chunk, Q, K, V, a, b, Gk, ScaleOf(shape.K), InitialState, OutputFinalState, StateVFirst);
        return (scope.Keep(o), ht is null ? null : scope.Keep(ht));
    }

    /// <summary>A call after its activations, every tensor with value heads.</summary>
    private sealed record Operands(LinearShape Shape, int Chunk, Tensor Q, Tensor K, Tensor Erase, Tensor V, Tensor? Beta, Tensor? G, Tensor? Gk, bool AreUnit)
    {
        /// <summary>All log decays but those of value channels; fp32 [B,T,HV] or [B,T,HV,K].</summary>
        public Tensor? Gate => G is null || Gk is null ? G ?? Gk : Elementwise.Add(Gk.To(DType.Float32), G.View(Shape.B, Shape.T, Shape.H, 1));
    }

    private (Tensor O, Tensor? FinalState, Tensor States) Heads(Operands x) =>
        DeltaChunk.Run(x.Shape, x.Chunk, x.Q, x.K, x.Erase, x.V, x.Beta, x.Gate, ReadsUndecayed, ScaleOf(x.Shape.K), InitialState, OutputFinalState, StateVFirst, x.AreUnit);

    /// <summary>Decays or step sizes of value channels: a column of the state depends on no other, so each becomes a head of one value channel. Costs as many heads.</summary>
    private (Tensor O, Tensor? FinalState, Tensor States) Columns(Operands x)
    {
        var shape = x.Shape;
        int columns = shape.V, heads = shape.H * columns;
        Tensor OfHeads(Tensor y) => Rows.RepeatHeads(y.View(shape.B, shape.T, shape.H, -1), columns);
        var beta = x.Beta is null ? null : x.Beta.Rank == 4 ? x.Beta.View(shape.B, shape.T, heads) : OfHeads(x.Beta).View(shape.B, shape.T, heads);
        var gate = x.Gate is { } all ? OfHeads(all.To(DType.Float32)) : null;
        if (Gv is { } gv)
        {
            var own = gv.To(DType.Float32).View(shape.B, shape.T, heads, 1);
            gate = gate is null ? own : Elementwise.Add(gate, own);
        }
        if (x.Gk is null) gate = gate?.View(shape.B, shape.T, heads);
        var k = OfHeads(x.K);
        var h0 = InitialState is null || StateVFirst ? InitialState : Transposes.LastTwo(InitialState);
        var (o, ht, states) = DeltaChunk.Run(shape with { H = heads, V = 1 }, x.Chunk, OfHeads(x.Q), k, ReferenceEquals(x.Erase, x.K) ? k : OfHeads(x.Erase),
            x.V.View(shape.B, shape.T, heads, 1), beta, gate, ReadsUndecayed, ScaleOf(shape.K), h0?.View(shape.N, heads, shape.K, 1), OutputFinalState, false);
        ht = ht?.View(shape.N, shape.H, shape.V, shape.K);
        return (o.View(shape.B, shape.T, shape.H, shape.V), ht is null || StateVFirst ? ht : Transposes.LastTwo(ht), states);
    }

    private Tensor[] Replay(Tensor?[] inputs)
    {
        var (o, ht) = (this with
        {
            Q = inputs[0]!, K = inputs[1]!, V = inputs[2]!, P = inputs[3], EraseGate = inputs[4], WriteGate = inputs[5], Beta = inputs[6], G = inputs[7], Gk = inputs[8],
            Gv = inputs[9], InitialState = inputs[10], Activations = Activations with { ALog = inputs[11], DtBias = inputs[12] }, B = inputs[13],
        }).Chunk(ChunkTiles.Size);
        return ht is null ? [o] : [o, ht];
    }

    private LinearShape Check()
    {
        var shape = Householders == 1 ? LinearShape.Of(Q, K, V, CuSeqlens, shared: true) : TokensOf(LinearShape.Of(K, K, V, CuSeqlens?.Stretched(Householders), shared: true));
        var rows = shape with { T = shape.T * Householders };
        Require.SameDevice([Q, .. Inputs]);
        foreach (var (row, name) in new[] { (P, Names.P), (B, Names.B), (EraseGate, "b") })
        {
            Require.Type(row, Q.DType, name);
            Require.Shape(row, name, K.Shape);
        }
        rows.CheckChannelGate(WriteGate, shape.V, "w");
        shape.CheckHeadGate(G, "g");
        shape.CheckChannelGate(Gk, shape.K, B is null && G is null && Gv is null ? "g" : "gk");
        shape.CheckChannelGate(Gv, shape.V, "gv");
        if (Beta is { Rank: 4 }) rows.CheckChannelGate(Beta, shape.V, "beta");
        else rows.CheckHeadGate(Beta, "beta");
        shape.CheckState(InitialState, StateVFirst, "initialState");
        Activations.Check(shape.H, G ?? Gk, G is null ? shape.K : null);
        return shape;
    }

    /// <summary>The shape in tokens of k and v, which have n rows each.</summary>
    private LinearShape TokensOf(LinearShape rows)
    {
        int n = Householders;
        Require.That(rows.T % n == 0, $"k has {n} rows a token, it is {K.Describe()}");
        Require.Type(Q, K.DType, "q");
        Require.Shape(Q, "q", rows.B, rows.T / n, K.Size(2), rows.K);
        return rows with { T = rows.T / n, Packed = CuSeqlens };
    }
}
