namespace Fla.Testing.References;

/// <content>Matrix products and table look-up.</content>
public static partial class Reference
{
    /// <summary>
    /// act(A B + bias) for every batch: A [..., M, K] (or [..., K, M] transposed), B [..., K, N] (or [..., N, K] transposed) with the
    /// same leading axes or none, bias [N]. Result "o" [..., M, N]; gradients of "a", "b", "bias".
    /// </summary>
    public static RefResult Matmul(
        RefTensor a, RefTensor b, bool transposeA = false, bool transposeB = false, RefTensor? bias = null, string? activation = null,
        RefTensor? doutput = null)
    {
        int m = a.Shape[transposeA ? ^1 : ^2], inner = a.Shape[transposeA ? ^2 : ^1], n = b.Shape[transposeB ? ^2 : ^1];
        int[] leading = a.Shape[..^2];
        b.Require(nameof(b), [.. b.Shape.Length == 2 ? [] : leading, transposeB ? n : inner, transposeB ? inner : n]);
        bias?.Require(nameof(bias), n);
        var run = new Differentiation(doutput);
        VarTensor left = run.Input("a", a), right = run.Input("b", b);
        VarTensor? offset = run.OptionalInput("bias", bias);
        run.Output("o", doutput, [.. leading, m, n]);
        var row = new Var[inner];
        var column = new Var[inner];
        for (int batch = 0; batch < RefTensor.Volume(leading); batch++)
        {
            int leftStart = batch * m * inner, rightStart = b.Shape.Length == 2 ? 0 : batch * inner * n;
            for (int i = 0; i < m; i++)
            {
                for (int j = 0; j < n; j++)
                {
                    for (int k = 0; k < inner; k++)
                    {
                        row[k] = left.Data[leftStart + (transposeA ? (k * m) + i : (i * inner) + k)];
                        column[k] = right.Data[rightStart + (transposeB ? (j * inner) + k : (k * n) + j)];
                    }

                    Var y = Var.Dot(row, column) + (offset?.Data[j] ?? 0);
                    run.Set("o", (((batch * m) + i) * n) + j, activation is null ? y : Activations.Apply(activation, y));
                    run.EndPiece();
                }
            }
        }

        return run.Result();
    }

    /// <summary>x Wᵀ (+ bias), W [out, in]. Gradients of "x", "weight", "bias".</summary>
    public static RefResult Linear(RefTensor x, RefTensor weight, RefTensor? bias = null, RefTensor? doutput = null)
    {
        weight.Require(nameof(weight), weight.Shape[0], x.Shape[^1]);
        bias?.Require(nameof(bias), weight.Shape[0]);
        var run = new Differentiation(doutput);
        VarTensor input = run.Input("x", x), w = run.Input("weight", weight);
        VarTensor? b = run.OptionalInput("bias", bias);
        MapRows(run, input, doutput, row => LinearRow(row, w, b));
        return run.Result();
    }

    /// <summary>
    /// scale · weight[id] for every id, weight [vocabulary, D]. Result "o" [ids, D]; gradient of "weight", summed over equal ids.
    /// </summary>
    public static RefResult Embedding(int[] ids, RefTensor weight, double scale = 1, RefTensor? doutput = null)
    {
        var run = new Differentiation(doutput);
        VarTensor table = run.Input("weight", weight);
        int width = weight.Shape[1];
        run.Output("o", doutput, ids.Length, width);
        for (int r = 0; r < ids.Length; r++)
        {
            for (int i = 0; i < width; i++)
            {
                run.Set("o", (r * width) + i, scale * table.Row(ids[r])[i]);
            }
        }

        return run.Result();
    }

    private static Var[] LinearRow(ReadOnlySpan<Var> row, VarTensor weight, VarTensor? bias)
    {
        var o = new Var[weight.Shape[0]];
        for (int i = 0; i < o.Length; i++)
        {
            o[i] = Var.Dot(row, weight.Row(i)) + (bias?.Data[i] ?? 0);
        }

        return o;
    }
}
