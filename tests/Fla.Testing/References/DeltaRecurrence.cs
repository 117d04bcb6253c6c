namespace Fla.Testing.References;

/// <summary>
/// The memory with a correcting write that every op of the delta-rule family is defined by, one token at a time:
/// Ŝ = decay(S), u = β ⊙ (w ⊙ v − Ŝᵀ(b ⊙ p)), S ← Ŝ + k uᵀ, o = scale · Sᵀ q, where decay(S) = e^g · diag(e^gk) S diag(e^gv) with whichever
/// gates are given, p is k unless given, and β, b, w are 1 unless given.
/// </summary>
/// <remarks>
/// Results: "o" [B,T,HV,V], "ht" [N,HV,K,V]; gradients of "q", "k", "v" and, where given, "p", "b", "w", "beta", "g", "gk", "gv", "A_log",
/// "dt_bias", "h0". A column of S depends on no other, so each is run and differentiated by itself.
/// </remarks>
public sealed record DeltaRecurrence
{
    /// <summary>Queries [B,T,H,K].</summary>
    public required RefTensor Q { get; init; }

    /// <summary>Keys [B,T·n,H,K], n = <see cref="Householders"/>.</summary>
    public required RefTensor K { get; init; }

    /// <summary>Values [B,T·n,HV,V]; value head h belongs to key head ⌊h / (HV/H)⌋.</summary>
    public required RefTensor V { get; init; }

    /// <summary>Erase rows [B,T·n,H,K]; the keys when null.</summary>
    public RefTensor? P { get; init; }

    /// <summary>Factors b of the erase rows [B,T·n,H,K].</summary>
    public RefTensor? EraseGate { get; init; }

    /// <summary>Factors w of the values [B,T·n,HV,V].</summary>
    public RefTensor? WriteGate { get; init; }

    /// <summary>Step sizes [B,T·n,HV], or [B,T·n,HV,V] for one a value channel.</summary>
    public RefTensor? Beta { get; init; }

    /// <summary>Natural-log decay per head [B,T,HV].</summary>
    public RefTensor? G { get; init; }

    /// <summary>Natural-log decay per key channel [B,T,HV,K].</summary>
    public RefTensor? Gk { get; init; }

    /// <summary>Natural-log decay per value channel [B,T,HV,V].</summary>
    public RefTensor? Gv { get; init; }

    /// <summary>The correction reads S before its decay.</summary>
    public bool ReadsUndecayed { get; init; }

    /// <summary>Corrections a token: one decay, then rows t·n … t·n + n − 1 of k, v, β, then the output.</summary>
    public int Householders { get; init; } = 1;

    /// <summary>Divides q, k and p by √(Σx² + 1e-6).</summary>
    public bool UseQkL2Norm { get; init; }

    /// <summary>β = σ(<see cref="Beta"/>).</summary>
    public bool UseBetaSigmoid { get; init; }

    /// <summary>β = 2σ(<see cref="Beta"/>).</summary>
    public bool AllowNegEigval { get; init; }

    /// <summary>
    /// The one of g and gk that is given is raw: the decay is −e^A_log · softplus(g + dt_bias), or with <see cref="LowerBound"/> ℓ it is ℓ·σ(e^A_log (g + dt_bias)).
    /// </summary>
    public bool UseGate { get; init; }

    /// <summary>A_log [HV]; 0 when null.</summary>
    public RefTensor? ALog { get; init; }

    /// <summary>dt_bias, [HV] with <see cref="G"/>, [HV,K] with <see cref="Gk"/>; 0 when null.</summary>
    public RefTensor? DtBias { get; init; }

    /// <summary>ℓ, the least decay of the bounded gate.</summary>
    public double? LowerBound { get; init; }

    /// <summary>Factor of the queries; K^(-1/2) when null.</summary>
    public double? Scale { get; init; }

    /// <summary>State before the first token [N,HV,K,V]; zero when null.</summary>
    public RefTensor? InitialState { get; init; }

    /// <summary>Boundaries [N+1] of packed sequences (B = 1), in tokens; one sequence a batch row when null.</summary>
    public int[]? CuSeqlens { get; init; }

    /// <summary>Gradient of the loss with respect to o; zero when null.</summary>
    public RefTensor? OutputGradient { get; init; }

    /// <summary>Gradient with respect to the final state; zero when null.</summary>
    public RefTensor? FinalStateGradient { get; init; }

    /// <summary>Runs the recurrence, and differentiates it if any output gradient is given.</summary>
    /// <exception cref="ArgumentException">Shapes that do not fit together.</exception>
    public RefResult Run()
    {
        int batch = Q.Shape[0], length = Q.Shape[1], keyHeads = Q.Shape[2], keyDim = Q.Shape[3], heads = V.Shape[2], valueDim = V.Shape[3];
        int rows = length * Householders, group = heads / keyHeads;
        (int Start, int End)[] sequences = Sequences.Of(batch, length, CuSeqlens);
        K.Require(nameof(K), batch, rows, keyHeads, keyDim);
        V.Require(nameof(V), batch, rows, keyHeads * group, valueDim);
        P?.Require(nameof(P), batch, rows, keyHeads, keyDim);
        EraseGate?.Require(nameof(EraseGate), batch, rows, keyHeads, keyDim);
        WriteGate?.Require(nameof(WriteGate), batch, rows, heads, valueDim);
        bool isBetaVector = Beta?.Shape.Length == 4;
        Beta?.Require(nameof(Beta), isBetaVector ? [batch, rows, heads, valueDim] : [batch, rows, heads]);
        G?.Require(nameof(G), batch, length, heads);
        Gk?.Require(nameof(Gk), batch, length, heads, keyDim);
        Gv?.Require(nameof(Gv), batch, length, heads, valueDim);
        InitialState?.Require(nameof(InitialState), sequences.Length, heads, keyDim, valueDim);
        ALog?.Require(nameof(ALog), heads);
        DtBias?.Require(nameof(DtBias), Gk is null ? [heads] : [heads, keyDim]);

        double scale = Scale ?? 1 / Math.Sqrt(keyDim);
        var run = new Differentiation(OutputGradient, FinalStateGradient);
        VarTensor q = run.Input("q", Q), k = run.Input("k", K), v = run.Input("v", V);
        VarTensor? p = run.OptionalInput("p", P), erase = run.OptionalInput("b", EraseGate), write = run.OptionalInput("w", WriteGate);
        VarTensor? beta = run.OptionalInput("beta", Beta), g = run.OptionalInput("g", G), gk = run.OptionalInput("gk", Gk), gv = run.OptionalInput("gv", Gv);
        VarTensor? aLog = run.OptionalInput("A_log", ALog), dtBias = run.OptionalInput("dt_bias", DtBias), h0 = run.OptionalInput("h0", InitialState);
        run.Output("o", OutputGradient, batch, length, heads, valueDim);
        run.Output("ht", FinalStateGradient, sequences.Length, heads, keyDim, valueDim);
        run.EachColumn(sequences.Length, heads, valueDim, RunColumn);
        return run.Result();

        void RunColumn(int n, int head, int column)
        {
            int StateIndex(int i) => (((((n * heads) + head) * keyDim) + i) * valueDim) + column;
            Var[] state = [.. Enumerable.Range(0, keyDim).Select(i => h0?.Data[StateIndex(i)] ?? 0)];
            for (int token = sequences[n].Start; token < sequences[n].End; token++)
            {
                Var[] before = state;
                state = Decay((token * heads) + head, head, column, state);
                for (int step = 0; step < Householders; step++)
                {
                    int row = (token * Householders) + step, keyRow = (row * keyHeads) + (head / group), valueRow = (row * heads) + head;
                    Var[] key = Normalized(k.Row(keyRow)), eraser = p is null ? key : Normalized(p.Row(keyRow));
                    eraser = erase is null ? eraser : [.. eraser.Zip(erase.Row(keyRow).ToArray(), (x, y) => x * y)];
                    Var value = v.Row(valueRow)[column];
                    value = write is null ? value : value * write.Row(valueRow)[column];
                    Var update = value - Var.Dot(eraser, ReadsUndecayed ? before : state);
                    update = beta is null ? update : update * StepSize(isBetaVector ? beta.Row(valueRow)[column] : beta.Data[valueRow]);
                    state = [.. state.Zip(key, (s, x) => s + (x * update))];
                    before = state;
                }

                Var[] query = Normalized(q.Row((token * keyHeads) + (head / group)));
                run.Set("o", (((token * heads) + head) * valueDim) + column, scale * Var.Dot(query, state));
            }

            for (int i = 0; i < keyDim; i++)
            {
                run.Set("ht", StateIndex(i), state[i]);
            }
        }

        Var[] Decay(int row, int head, int column, Var[] state)
        {
            Var common = g is null ? 0 : Gate(g.Data[row], head, dtBias?.Data[head] ?? 0);
            common = gv is null ? common : common + gv.Row(row)[column];
            if (gk is null)
            {
                Var factor = Var.Exp(common);
                return g is null && gv is null ? state : Array.ConvertAll(state, x => x * factor);
            }

            var decayed = new Var[keyDim];
            for (int i = 0; i < keyDim; i++)
            {
                decayed[i] = state[i] * Var.Exp(common + Gate(gk.Row(row)[i], head, dtBias?.Row(head)[i] ?? 0));
            }

            return decayed;
        }

        Var Gate(Var raw, int head, Var bias)
        {
            if (!UseGate)
            {
                return raw;
            }

            Var x = raw + bias, a = aLog is null ? 1 : Var.Exp(aLog.Data[head]);
            return LowerBound is { } bound ? bound * Var.Sigmoid(a * x) : -a * (x.Value > 20 ? x : Var.Log(1 + Var.Exp(x)));
        }

        Var StepSize(Var raw) => AllowNegEigval ? 2 * Var.Sigmoid(raw) : UseBetaSigmoid ? Var.Sigmoid(raw) : raw;

        Var[] Normalized(ReadOnlySpan<Var> x)
        {
            Var[] row = x.ToArray();
            if (!UseQkL2Norm)
            {
                return row;
            }

            Var norm = Var.Sqrt(Var.Dot(row, row) + 1e-6);
            return Array.ConvertAll(row, y => y / norm);
        }
    }
}
