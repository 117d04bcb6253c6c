namespace Fla.Testing.References;

/// <summary>
/// The additive memory every op of the linear-attention family is defined by, one token at a time:
/// S ← decay(S) + k vᵀ, o = scale · Sᵀ q, where decay(S) = e^g · e^γ · diag(e^gk) S diag(e^gv) with whichever gates are given.
/// </summary>
/// <remarks>
/// Results: "o" [B,T,H,V], "ht" [N,H,K,V], with <see cref="Normalize"/> "zt" [N,1,H,K]; gradients of "q", "k", "v" and, where
/// given, "g", "gk", "gv", "h0", "z0". A column of S depends on no other, so each is run and differentiated by itself.
/// </remarks>
public sealed record AddRecurrence
{
    /// <summary>Queries [B,T,H,K].</summary>
    public required RefTensor Q { get; init; }

    /// <summary>Keys [B,T,H,K].</summary>
    public required RefTensor K { get; init; }

    /// <summary>Values [B,T,H,V].</summary>
    public required RefTensor V { get; init; }

    /// <summary>Natural-log decay per head [B,T,H].</summary>
    public RefTensor? G { get; init; }

    /// <summary>Constant natural-log decay of each head [H]; it has no gradient.</summary>
    public double[]? Gamma { get; init; }

    /// <summary>Natural-log decay per key channel [B,T,H,K].</summary>
    public RefTensor? Gk { get; init; }

    /// <summary>Natural-log decay per value channel [B,T,H,V].</summary>
    public RefTensor? Gv { get; init; }

    /// <summary>Factor of the queries; K^(-1/2) when null.</summary>
    public double? Scale { get; init; }

    /// <summary>State before the first token [N,H,K,V]; zero when null.</summary>
    public RefTensor? InitialState { get; init; }

    /// <summary>Divides o by scale · q·z + 1e-10, with z the sum of keys so far.</summary>
    public bool Normalize { get; init; }

    /// <summary>z before the first token [N,1,H,K]; zero when null.</summary>
    public RefTensor? InitialNormalizer { get; init; }

    /// <summary>Scans every sequence from its last token to its first.</summary>
    public bool Reverse { get; init; }

    /// <summary>Boundaries [N+1] of packed sequences (B = 1); one sequence a batch row when null.</summary>
    public int[]? CuSeqlens { get; init; }

    /// <summary>Gradient of the loss with respect to o; zero when null.</summary>
    public RefTensor? OutputGradient { get; init; }

    /// <summary>Gradient with respect to the final state; zero when null.</summary>
    public RefTensor? FinalStateGradient { get; init; }

    /// <summary>Gradient with respect to the final z; zero when null.</summary>
    public RefTensor? FinalNormalizerGradient { get; init; }

    /// <summary>Runs the recurrence, and differentiates it if any output gradient is given.</summary>
    /// <exception cref="ArgumentException">Shapes that do not fit together.</exception>
    public RefResult Run()
    {
        int batch = Q.Shape[0], length = Q.Shape[1], heads = Q.Shape[2], keyDim = Q.Shape[3], valueDim = V.Shape[^1];
        (int Start, int End)[] sequences = Sequences.Of(batch, length, CuSeqlens);
        int count = sequences.Length;
        K.Require(nameof(K), batch, length, heads, keyDim);
        V.Require(nameof(V), batch, length, heads, valueDim);
        G?.Require(nameof(G), batch, length, heads);
        Gk?.Require(nameof(Gk), batch, length, heads, keyDim);
        Gv?.Require(nameof(Gv), batch, length, heads, valueDim);
        InitialState?.Require(nameof(InitialState), count, heads, keyDim, valueDim);
        InitialNormalizer?.Require(nameof(InitialNormalizer), count, 1, heads, keyDim);
        if (Gamma is not null && Gamma.Length != heads)
        {
            throw new ArgumentException($"{Gamma.Length} constant decays for {heads} heads.", nameof(Gamma));
        }

        if (!Normalize && (InitialNormalizer is not null || FinalNormalizerGradient is not null))
        {
            throw new ArgumentException("A normalizer state without normalization.", nameof(Normalize));
        }

        double scale = Scale ?? 1 / Math.Sqrt(keyDim);
        var run = new Differentiation(OutputGradient, FinalStateGradient, FinalNormalizerGradient);
        VarTensor q = run.Input("q", Q), k = run.Input("k", K), v = run.Input("v", V);
        VarTensor? g = run.OptionalInput("g", G), gk = run.OptionalInput("gk", Gk), gv = run.OptionalInput("gv", Gv);
        VarTensor? h0 = run.OptionalInput("h0", InitialState), z0 = run.OptionalInput("z0", InitialNormalizer);
        run.Output("o", OutputGradient, batch, length, heads, valueDim);
        run.Output("ht", FinalStateGradient, count, heads, keyDim, valueDim);
        if (Normalize)
        {
            run.Output("zt", FinalNormalizerGradient, count, 1, heads, keyDim);
        }

        run.EachColumn(count, heads, valueDim, RunColumn);
        if (Normalize)
        {
            run.EachColumn(count, heads, 1, (n, head, _) => RunNormalizer(n, head));
        }

        return run.Result();

        void RunColumn(int n, int head, int column)
        {
            var state = new Var[keyDim];
            Var[] sum = Normalizer(n, head);
            int StateIndex(int i) => (((((n * heads) + head) * keyDim) + i) * valueDim) + column;
            for (int i = 0; i < keyDim; i++)
            {
                state[i] = h0?.Data[StateIndex(i)] ?? 0;
            }

            foreach (int token in Tokens(sequences[n]))
            {
                int row = (token * heads) + head;
                Var value = v.Row(row)[column];
                Var decay = Math.Exp(Gamma?[head] ?? 0);
                decay = g is null ? decay : decay * Var.Exp(g.Data[row]);
                decay = gv is null ? decay : decay * Var.Exp(gv.Row(row)[column]);
                for (int i = 0; i < keyDim; i++)
                {
                    Var rowDecay = gk is null ? decay : decay * Var.Exp(gk.Row(row)[i]);
                    state[i] = (rowDecay * state[i]) + (k.Row(row)[i] * value);
                }

                Var o = scale * Var.Dot(q.Row(row), state);
                if (Normalize)
                {
                    Accumulate(sum, k.Row(row));
                    o /= (scale * Var.Dot(q.Row(row), sum)) + 1e-10;
                }

                run.Set("o", (row * valueDim) + column, o);
            }

            for (int i = 0; i < keyDim; i++)
            {
                run.Set("ht", StateIndex(i), state[i]);
            }
        }

        void RunNormalizer(int n, int head)
        {
            Var[] sum = Normalizer(n, head);
            foreach (int token in Tokens(sequences[n]))
            {
                Accumulate(sum, k.Row((token * heads) + head));
            }

            for (int i = 0; i < keyDim; i++)
            {
                run.Set("zt", (((n * heads) + head) * keyDim) + i, sum[i]);
            }
        }

        Var[] Normalizer(int n, int head) => z0 is null ? new Var[keyDim] : z0.Row((n * heads) + head).ToArray();
    }

    private static void Accumulate(Var[] sum, ReadOnlySpan<Var> key)
    {
        for (int i = 0; i < sum.Length; i++)
        {
            sum[i] += key[i];
        }
    }

    private IEnumerable<int> Tokens((int Start, int End) sequence)
    {
        IEnumerable<int> tokens = Enumerable.Range(sequence.Start, sequence.End - sequence.Start);
        return Reverse ? tokens.Reverse() : tokens;
    }
}
