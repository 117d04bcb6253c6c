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

    /// <summary>One token after another, in one dispatch.</summary>
    public (Tensor O, Tensor? FinalState) Recurrent(Tensor? finalState)
    {
        using var scope = new TensorScope();
        var shape = Check();
        var ht = RecurrentDelta.FinalState(shape, Q, OutputFinalState, false, finalState, [Q, K, V, A, B, Gk, InitialState]);
        var switches = RecurrentDelta.Switches.ReadsUndecayed
            | (Reverse ? RecurrentDelta.Switches.Reverse : 0)
            | (IsProduct ? RecurrentDelta.Switches.NegatedErase : 0);
        var o = RecurrentDelta.Run(shape, new(Q, K, V) { A = A, B = B, Gk = Gk, Switches = switches }, Scale ?? 1 / MathF.Sqrt(shape.K),
            InitialState?.To(DType.Float32), ht);
        return (scope.Keep(o), ht is null ? null : scope.Keep(ht));
    }

    private LinearShape Check()
    {
        var shape = LinearShape.Of(Q, K, V, CuSeqlens);
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
