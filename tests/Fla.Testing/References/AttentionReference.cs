namespace Fla.Testing.References;

/// <summary>
/// Causal softmax attention by its definition: o_i = Σ_j p_ij v_j, p_i = softmax over the keys j of i's sequence with i − window &lt; j ≤ i of scale · q_i·k_j.
/// </summary>
/// <remarks>Results: "o" [B,T,HQ,V]; gradients of "q", "k", "v".</remarks>
public sealed record AttentionReference
{
    /// <summary>Queries [B,T,HQ,K].</summary>
    public required RefTensor Q { get; init; }

    /// <summary>Keys [B,T,H,K]; query head h reads key head ⌊h / (HQ/H)⌋.</summary>
    public required RefTensor K { get; init; }

    /// <summary>Values [B,T,H,V].</summary>
    public required RefTensor V { get; init; }

    /// <summary>Factor of the logits; K^(-1/2) when null.</summary>
    public double? Scale { get; init; }

    /// <summary>Keys that a query sees; all before it when null.</summary>
    public int? Window { get; init; }

    /// <summary>Boundaries [N+1] of packed sequences (B = 1); one sequence a batch row when null.</summary>
    public int[]? CuSeqlens { get; init; }

    /// <summary>Gradient of the loss with respect to o; zero when null.</summary>
    public RefTensor? OutputGradient { get; init; }

    /// <summary>Computes it, and differentiates it if the output gradient is given.</summary>
    /// <exception cref="ArgumentException">Shapes that do not fit together.</exception>
    public RefResult Run()
    {
        int batch = Q.Shape[0], length = Q.Shape[1], heads = Q.Shape[2], keyDim = Q.Shape[3], keyHeads = K.Shape[2], valueDim = V.Shape[3];
        (int Start, int End)[] sequences = Sequences.Of(batch, length, CuSeqlens);
        K.Require(nameof(K), batch, length, keyHeads, keyDim);
        V.Require(nameof(V), batch, length, keyHeads, valueDim);
        double scale = Scale ?? 1 / Math.Sqrt(keyDim);
        var run = new Differentiation(OutputGradient);
        VarTensor q = run.Input("q", Q), k = run.Input("k", K), v = run.Input("v", V);
        run.Output("o", OutputGradient, batch, length, heads, valueDim);
        run.EachColumn(sequences.Length, heads, 1, (n, head, _) =>
        {
            int keyHead = head / (heads / keyHeads);
            for (int i = sequences[n].Start; i < sequences[n].End; i++)
            {
                int first = Window is { } window ? Math.Max(sequences[n].Start, i - window + 1) : sequences[n].Start;
                Var[] query = q.Row((i * heads) + head).ToArray();
                Var[] logits = [.. Enumerable.Range(first, i - first + 1).Select(j => scale * Var.Dot(query, k.Row((j * keyHeads) + keyHead)))];
                double most = logits.Max(x => x.Value);
                Var[] weights = Array.ConvertAll(logits, x => Var.Exp(x - most));
                Var total = weights.Aggregate((x, y) => x + y);
                for (int c = 0; c < valueDim; c++)
                {
                    Var sum = 0;
                    for (int j = 0; j < weights.Length; j++)
                    {
                        sum += weights[j] * v.Row(((first + j) * keyHeads) + keyHead)[c];
                    }

                    run.Set("o", (((i * heads) + head) * valueDim) + c, sum / total);
                }
            }
        });
        return run.Result();
    }
}
