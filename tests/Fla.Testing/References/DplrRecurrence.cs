namespace Fla.Testing.References;

/// <summary>
/// The generalized delta rule, a decay plus a correction of rank one, one token at a time:
/// S ← diag(e^gk) S + b (Sᵀ a)ᵀ + k vᵀ, o = scale · Sᵀ q. The correction reads S before its decay. Without gk this is IPLR.
/// </summary>
/// <remarks>
/// Results: "o" [B,T,H,V], "ht" [N,H,K,V]; gradients of "q", "k", "v", "a", "b" and, where given, "gk", "h0". A column of S depends on no
/// other, so each is run and differentiated by itself.
/// </remarks>
public sealed record DplrRecurrence
{
    /// <summary>Queries [B,T,H,K].</summary>
    public required RefTensor Q { get; init; }

    /// <summary>Keys [B,T,H,K].</summary>
    public required RefTensor K { get; init; }

    /// <summary>Values [B,T,H,V].</summary>
    public required RefTensor V { get; init; }

    /// <summary>What the correction reads [B,T,H,K].</summary>
    public required RefTensor A { get; init; }

    /// <summary>Where the correction is written [B,T,H,K].</summary>
    public required RefTensor B { get; init; }

    /// <summary>Natural-log decay per key channel [B,T,H,K].</summary>
    public RefTensor? Gk { get; init; }

    /// <summary>Factor of the queries; K^(-1/2) when null.</summary>
    public double? Scale { get; init; }

    /// <summary>State before the first token [N,H,K,V]; zero when null.</summary>
    public RefTensor? InitialState { get; init; }

    /// <summary>Scans every sequence from its last token to its first.</summary>
    public bool Reverse { get; init; }

    /// <summary>Boundaries [N+1] of packed sequences (B = 1); one sequence a batch row when null.</summary>
    public int[]? CuSeqlens { get; init; }

    /// <summary>Gradient of the loss with respect to o; zero when null.</summary>
    public RefTensor? OutputGradient { get; init; }

    /// <summary>Gradient with respect to the final state; zero when null.</summary>
    public RefTensor? FinalStateGradient { get; init; }

    /// <summary>Runs the recurrence, and differentiates it if any output gradient is given.</summary>
    /// <exception cref="ArgumentException">Shapes that do not fit together.</exception>
    public RefResult Run()
    {
        int batch = Q.Shape[0], length = Q.Shape[1], heads = Q.Shape[2], keyDim = Q.Shape[3], valueDim = V.Shape[^1];
        (int Start, int End)[] sequences = Sequences.Of(batch, length, CuSeqlens);
        K.Require(nameof(K), batch, length, heads, keyDim);
        V.Require(nameof(V), batch, length, heads, valueDim);
        A.Require(nameof(A), batch, length, heads, keyDim);
        B.Require(nameof(B), batch, length, heads, keyDim);
        Gk?.Require(nameof(Gk), batch, length, heads, keyDim);
        InitialState?.Require(nameof(InitialState), sequences.Length, heads, keyDim, valueDim);

        double scale = Scale ?? 1 / Math.Sqrt(keyDim);
        var run = new Differentiation(OutputGradient, FinalStateGradient);
        VarTensor q = run.Input("q", Q), k = run.Input("k", K), v = run.Input("v", V), a = run.Input("a", A), b = run.Input("b", B);
        VarTensor? gk = run.OptionalInput("gk", Gk), h0 = run.OptionalInput("h0", InitialState);
        run.Output("o", OutputGradient, batch, length, heads, valueDim);
        run.Output("ht", FinalStateGradient, sequences.Length, heads, keyDim, valueDim);
        run.EachColumn(sequences.Length, heads, valueDim, RunColumn);
        return run.Result();

        void RunColumn(int n, int head, int column)
        {
            int StateIndex(int i) => (((((n * heads) + head) * keyDim) + i) * valueDim) + column;
            Var[] state = [.. Enumerable.Range(0, keyDim).Select(i => h0?.Data[StateIndex(i)] ?? 0)];
            IEnumerable<int> tokens = Enumerable.Range(sequences[n].Start, sequences[n].End - sequences[n].Start);
            foreach (int token in Reverse ? tokens.Reverse() : tokens)
            {
                int row = (token * heads) + head;
                Var read = Var.Dot(a.Row(row), state), value = v.Row(row)[column];
                for (int i = 0; i < keyDim; i++)
                {
                    Var kept = gk is null ? state[i] : Var.Exp(gk.Row(row)[i]) * state[i];
                    state[i] = kept + (b.Row(row)[i] * read) + (k.Row(row)[i] * value);
                }

                run.Set("o", (row * valueDim) + column, scale * Var.Dot(q.Row(row), state));
            }

            for (int i = 0; i < keyDim; i++)
            {
                run.Set("ht", StateIndex(i), state[i]);
            }
        }
    }
}
