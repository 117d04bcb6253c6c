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

    /// <summary>The correction reads S before its decay.</summary>
    public bool ReadsUndecayed { get; init; }

    public DeltaActivations Activations { get; init; }

    public float? Scale { get; init; }

    public Tensor? InitialState { get; init; }

    public bool OutputFinalState { get; init; }

    public bool StateVFirst { get; init; }

    public CuSeqlens? CuSeqlens { get; init; }

    /// <summary>One token after another, in one dispatch.</summary>
    public (Tensor O, Tensor? FinalState) Recurrent(Tensor? finalState)
    {
        using var scope = new TensorScope();
        var shape = Check();
        var ht = RecurrentDelta.FinalState(shape, Q, OutputFinalState, StateVFirst, finalState, [Q, K, V, P, EraseGate, WriteGate, Beta, G, Gk, Gv, InitialState, Activations.ALog, Activations.DtBias]);
        var switches = Activations.Switches
            | (ReadsUndecayed ? RecurrentDelta.Switches.ReadsUndecayed : 0)
            | (StateVFirst ? RecurrentDelta.Switches.Transposed : 0)
            | (EraseGate is null ? 0 : RecurrentDelta.Switches.EraseTimesKey)
            | (Beta is { Rank: 4 } ? RecurrentDelta.Switches.BetaVector : 0);
        var o = RecurrentDelta.Run(shape, new(Q, K, V)
        {
            A = EraseGate ?? P, W = WriteGate, Beta = Beta, G = G, Gk = Gk, Gv = Gv, ALog = Activations.ALog, DtBias = Activations.DtBias,
            Switches = switches, BetaScale = Activations.AllowNegEigval ? 2 : 1, LowerBound = Activations.LowerBound ?? 0,
        }, Scale ?? 1 / MathF.Sqrt(shape.K), InitialState?.To(DType.Float32), ht);
        return (scope.Keep(o), ht is null ? null : scope.Keep(ht));
    }

    private LinearShape Check()
    {
        var shape = LinearShape.Of(Q, K, V, CuSeqlens, shared: true);
        Require.SameDevice(Q, P, EraseGate, WriteGate, Beta, G, Gk, Gv, InitialState, Activations.ALog, Activations.DtBias);
        foreach (var (row, name) in new[] { (P, "p"), (EraseGate, "b") })
        {
            Require.Type(row, Q.DType, name);
            Require.Shape(row, name, Q.Shape);
        }
        shape.CheckChannelGate(WriteGate, shape.V, "w");
        shape.CheckHeadGate(G, "g");
        shape.CheckChannelGate(Gk, shape.K, G is null && Gv is null ? "g" : "gk");
        shape.CheckChannelGate(Gv, shape.V, "gv");
        if (Beta is { Rank: 4 }) shape.CheckChannelGate(Beta, shape.V, "beta");
        else shape.CheckHeadGate(Beta, "beta");
        shape.CheckState(InitialState, StateVFirst, "initialState");
        Activations.Check(shape, G ?? Gk, isChannelGate: G is null);
        return shape;
    }
}
