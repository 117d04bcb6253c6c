namespace Fla.Testing.References;

/// <content>Normalizations over the last axis. Results "o" and, given a residual or a gradient for it, "residual": the sum prenorm
/// returns.</content>
public static partial class Reference
{
    /// <summary>o = s / √(mean(s²) + eps) · weight (+ bias), s = x (+ residual). Gradients of "x", "weight", "bias", "residual".</summary>
    public static RefResult RmsNorm(
        RefTensor x, RefTensor? weight = null, RefTensor? bias = null, RefTensor? residual = null, double eps = 1e-5,
        RefTensor? doutput = null, RefTensor? dresidual = null) =>
        GroupNorm(x, 1, weight, bias, residual, eps, true, doutput, dresidual);

    /// <summary>o = (s − mean) / √(var + eps) · weight (+ bias), with the biased variance.</summary>
    public static RefResult LayerNorm(
        RefTensor x, RefTensor? weight = null, RefTensor? bias = null, RefTensor? residual = null, double eps = 1e-5,
        RefTensor? doutput = null, RefTensor? dresidual = null) =>
        GroupNorm(x, 1, weight, bias, residual, eps, false, doutput, dresidual);

    /// <summary>As <see cref="LayerNorm"/> (or <see cref="RmsNorm"/>) over each of <paramref name="groups"/> equal parts.</summary>
    public static RefResult GroupNorm(
        RefTensor x, int groups, RefTensor? weight = null, RefTensor? bias = null, RefTensor? residual = null, double eps = 1e-5,
        bool isRmsNorm = false, RefTensor? doutput = null, RefTensor? dresidual = null) =>
        new Normalization
        {
            X = x, Groups = groups, Weight = weight, Bias = bias, Residual = residual, Eps = eps, SubtractMean = !isRmsNorm,
            OutputGradient = doutput, SumGradient = dresidual,
        }.Run();

    /// <summary>RmsNorm(x) · act(g), act "swish" or "sigmoid". Gradients of "x", "g", "weight", "residual".</summary>
    public static RefResult FusedRmsNormGated(
        RefTensor x, RefTensor g, RefTensor? weight = null, RefTensor? residual = null, double eps = 1e-5, string activation = "swish",
        RefTensor? doutput = null, RefTensor? dresidual = null) =>
        new Normalization
        {
            X = x, Gate = g, GateActivation = activation, Weight = weight, Residual = residual, Eps = eps,
            OutputGradient = doutput, SumGradient = dresidual,
        }.Run();

    /// <summary>LayerNorm(x) · act(g), act "swish" or "sigmoid". Gradients of "x", "g", "weight", "bias", "residual".</summary>
    public static RefResult FusedLayerNormGated(
        RefTensor x, RefTensor g, RefTensor? weight = null, RefTensor? bias = null, RefTensor? residual = null, double eps = 1e-5,
        string activation = "swish", RefTensor? doutput = null, RefTensor? dresidual = null) =>
        new Normalization
        {
            X = x, Gate = g, GateActivation = activation, Weight = weight, Bias = bias, Residual = residual, Eps = eps,
            SubtractMean = true, OutputGradient = doutput, SumGradient = dresidual,
        }.Run();

    /// <summary>
    /// The Mamba-style norm with a silu gate <paramref name="z"/> (named "g" in the results): norm(x)·weight·silu(z), or
    /// norm(x·silu(z))·weight, over parts of <paramref name="groupSize"/> features.
    /// </summary>
    public static RefResult NormGated(
        RefTensor x, RefTensor? z, RefTensor? weight = null, RefTensor? bias = null, double eps = 1e-5, int? groupSize = null,
        bool normBeforeGate = false, bool isRmsNorm = true, RefTensor? doutput = null) =>
        new Normalization
        {
            X = x, Gate = z, GateBeforeNorm = !normBeforeGate, Weight = weight, Bias = bias, Eps = eps,
            Groups = x.Shape[^1] / (groupSize ?? x.Shape[^1]), SubtractMean = !isRmsNorm, OutputGradient = doutput,
        }.Run();

    /// <summary>o = x / √(Σx² + eps). Gradient of "x".</summary>
    public static RefResult L2Norm(RefTensor x, double eps = 1e-6, RefTensor? doutput = null) =>
        RowWise(x, doutput, row =>
        {
            Var rstd = 1 / Var.Sqrt(Var.Dot(row, row) + eps);
            return Array.ConvertAll(row, a => a * rstd);
        });

    /// <summary>e^x / Σ e^x over the last axis. Gradient of "x".</summary>
    public static RefResult Softmax(RefTensor x, RefTensor? doutput = null) => RowWise(x, doutput, SoftmaxRow);

    private static Var[] SoftmaxRow(Var[] row)
    {
        Var lse = Var.LogSumExp(row);
        return Array.ConvertAll(row, a => Var.Exp(a - lse));
    }

    /// <summary>A function of every vector along the last axis, without parameters.</summary>
    private static RefResult RowWise(RefTensor x, RefTensor? doutput, Func<Var[], Var[]> function)
    {
        var run = new Differentiation(doutput);
        VarTensor input = run.Input("x", x);
        MapRows(run, input, doutput, function);
        return run.Result();
    }

    /// <summary>Sets "o" to a function of every vector along the last axis of <paramref name="input"/>.</summary>
    private static void MapRows(Differentiation run, VarTensor input, RefTensor? doutput, Func<Var[], Var[]> function)
    {
        int rows = input.Data.Length / input.Shape[^1];
        for (int r = 0; r < rows; r++)
        {
            Var[] y = function(input.Row(r).ToArray());
            if (r == 0)
            {
                run.Output("o", doutput, [.. input.Shape[..^1], y.Length]);
            }

            for (int i = 0; i < y.Length; i++)
            {
                run.Set("o", (r * y.Length) + i, y[i]);
            }

            run.EndPiece();
        }
    }
}
