namespace Fla.Testing.References;

/// <content>Feature maps of linear attention, over the last axis K. Result "o", gradients of "x" and the parameters.</content>
public static partial class Reference
{
    /// <summary>Hedgehog: softmax over [2h, −2h], h = W x + b; W [K,K]. Gradients of "x", "weight", "bias".</summary>
    public static RefResult Hedgehog(RefTensor x, RefTensor weight, RefTensor bias, RefTensor? doutput = null)
    {
        var run = new Differentiation(doutput);
        VarTensor input = run.Input("x", x), w = run.Input("weight", weight), b = run.Input("bias", bias);
        MapRows(run, input, doutput, row =>
        {
            Var[] h = LinearRow(row, w, b);
            return SoftmaxRow([.. h.Select(a => 2 * a), .. h.Select(a => -2 * a)]);
        });
        return run.Result();
    }

    /// <summary>T2R: relu(W x (+ bias)). Gradients of "x", "weight", "bias".</summary>
    public static RefResult T2R(RefTensor x, RefTensor weight, RefTensor? bias = null, RefTensor? doutput = null)
    {
        var run = new Differentiation(doutput);
        VarTensor input = run.Input("x", x), w = run.Input("weight", weight);
        VarTensor? b = run.OptionalInput("bias", bias);
        MapRows(run, input, doutput, row => Array.ConvertAll(LinearRow(row, w, b), Var.Relu));
        return run.Result();
    }

    /// <summary>
    /// The elementwise product (W₁x + b₁) ⊙ (W₂x + b₂). Gradients of "x", "weight1", "bias1", "weight2", "bias2".
    /// </summary>
    public static RefResult Hadamard(
        RefTensor x, RefTensor weight1, RefTensor bias1, RefTensor weight2, RefTensor bias2, RefTensor? doutput = null)
    {
        var run = new Differentiation(doutput);
        VarTensor input = run.Input("x", x);
        VarTensor w1 = run.Input("weight1", weight1), b1 = run.Input("bias1", bias1);
        VarTensor w2 = run.Input("weight2", weight2), b2 = run.Input("bias2", bias2);
        MapRows(run, input, doutput, row => [.. LinearRow(row, w1, b1).Zip(LinearRow(row, w2, b2), (a, b) => a * b)]);
        return run.Result();
    }

    /// <summary>
    /// DPFP: with r = [relu(x), −relu(x)], r ⊙ roll(r, j) for j = 1..nu side by side (2K·nu features), where roll moves elements to
    /// higher indices. Gradient of "x".
    /// </summary>
    public static RefResult Dpfp(RefTensor x, int nu = 4, RefTensor? doutput = null) =>
        RowWise(x, doutput, row =>
        {
            Var[] r = [.. row.Select(Var.Relu), .. row.Select(a => -Var.Relu(a))];
            var features = new List<Var>();
            for (int shift = 1; shift <= nu; shift++)
            {
                for (int i = 0; i < r.Length; i++)
                {
                    features.Add(r[i] * r[(i - shift + (nu * r.Length)) % r.Length]);
                }
            }

            return [.. features];
        });

    /// <summary>elu(x) + 1: x + 1 where positive, else eˣ. Gradient of "x".</summary>
    public static RefResult EluPlusOne(RefTensor x, RefTensor? doutput = null) =>
        RowWise(x, doutput, row => Array.ConvertAll(row, a => a.Value > 0 ? a + 1 : Var.Exp(a)));

    /// <summary>x / (Σx + eps), linear attention's norm_q and norm_k. Gradient of "x".</summary>
    public static RefResult SumNormalize(RefTensor x, double eps = 1e-4, RefTensor? doutput = null) =>
        RowWise(x, doutput, row =>
        {
            Var sum = Var.Sum(row) + eps;
            return Array.ConvertAll(row, a => a / sum);
        });
}
