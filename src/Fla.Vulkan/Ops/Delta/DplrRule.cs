namespace Fla.Vulkan.Ops;

/// <summary>One call of the generalized delta rule: S ← diag(e^gk) S + b (Sᵀa)ᵀ + k vᵀ, o = scale · Sᵀ q.</summary>
internal sealed record DplrRule
{
    public required Tensor Q { get; init; }

    public required Tensor K { get; init; }

    public required Tensor V { get; init; }

    /// <summary>What the correction reads [B,T,H,K]; with <see cref="IsProduct"/> its negative.</summary>
    public required Tensor A { get; init; }

    /// <summary>Where the correction is written [B,T,H,K]; with <see cref="IsProduct"/> times <see cref="A"/>.</summary>
    public required Tensor B { get; init; }

    /// <summary>Names of a and b in messages.</summary>
    public (string A, string B) Names { get; init; } = ("a", "b");

    /// <summary>RWKV7's kk and its rate stand for a and b.</summary>
    public bool IsProduct { get; init; }

    /// <summary>Log decay a key channel [B,T,H,K].</summary>
    public Tensor? Gk { get; init; }

    public float? Scale { get; init; }

    public Tensor? InitialState { get; init; }

    public bool OutputFinalState { get; init; }

    public bool Reverse { get; init; }

    public CuSeqlens? CuSeqlens { get; init; }

    private Tensor?[] Inputs => [Q, K, V, A, B, Gk, InitialState];

    /// <summary>One token after another, in one dispatch. Gradients are those of the chunked form.</summary>
    /// <exception cref="AutogradException">An input requires a gradient and the scan runs backwards.</exception>
    public (Tensor O, Tensor? FinalState) Recurrent(Tensor? finalState)
    {
        using var scope = new TensorScope();
        var shape = Check();
        var ht = RecurrentDelta.FinalState(shape, Q, OutputFinalState, false, finalState, Inputs);
        var isRecording = Autograd.IsRecording(Inputs);
        if (isRecording && Reverse) throw new AutogradException("a generalized delta rule with reverse has no gradients: turn the sequences around and call it without");
        var switches = RecurrentDelta.Switches.ReadsUndecayed
            | (Reverse ? RecurrentDelta.Switches.Reverse : 0)
            | (IsProduct ? RecurrentDelta.Switches.NegatedErase : 0);
        var o = RecurrentDelta.Run(shape, new(Q, K, V) { A = A, B = B, Gk = Gk, Switches = switches }, ScaleOf(shape), InitialState?.To(DType.Float32), ht);
        if (isRecording) Autograd.RecordReplay("fused_recurrent_dplr_delta_rule", Inputs, ht is null ? [o] : [o, ht], Replay);
        return (scope.Keep(o), ht is null ? null : scope.Keep(ht));
    }

    /// <summary>In chunks. Records its gradients.</summary>
    public (Tensor O, Tensor? FinalState) Chunk(int chunk)
    {
        ChunkTiles.Check(chunk);
        using var scope = new TensorScope();
        var shape = Check();
        var (a, b) = IsProduct ? (Elementwise.Scale(A, -1), Elementwise.Mul(A, B)) : (A, B);
        var (o, ht) = DplrChunk.Run(shape, chunk, Q, K, V, a, b, Gk, ScaleOf(shape), InitialState, OutputFinalState, false);
        return (scope.Keep(o), ht is null ? null : scope.Keep(ht));
    }

    private Tensor[] Replay(Tensor?[] inputs)
    {
        var (o, ht) = (this with
        {
            Q = inputs[0]!, K = inputs[1]!, V = inputs[2]!, A = inputs[3]!, B = inputs[4]!, Gk = inputs[5], InitialState = inputs[6],
        }).Chunk(ChunkTiles.Size);
        return ht is null ? [o] : [o, ht];
    }

    private float ScaleOf(LinearShape shape) => Scale ?? 1 / MathF.Sqrt(shape.K);

    private LinearShape Check()
    {
        DeltaOps.RequireOwnHeads(Q, V);
        var shape = LinearShape.Of(Q, K, V, CuSeqlens, shared: true);
        Require.SameDevice(Q, A, B, Gk, InitialState);
        foreach (var (row, name) in new[] { (A, Names.A), (B, Names.B) })
        {
            ArgumentNullException.ThrowIfNull(row, name);
            Require.Type(row, Q.DType, name);
            Require.Shape(row, name, Q.Shape);
        }
        shape.CheckChannelGate(Gk, shape.K, "gk");
        shape.CheckState(InitialState, false, "initialState");
        return shape;
    }
}
