namespace Fla.Testing.References;

/// <content>Elementwise functions and gated linear units.</content>
public static partial class Reference
{
    /// <summary>
    /// "relu", "sigmoid", "logsigmoid", "silu" or "swish", "sqrelu", "gelu" (tanh form), divided by <paramref name="temperature"/>.
    /// Result "o", gradient of "x".
    /// </summary>
    public static RefResult Activation(string name, RefTensor x, double temperature = 1, RefTensor? doutput = null) =>
        RowWise(x, doutput, row => Array.ConvertAll(row, a => Activations.Apply(name, a) / temperature));

    /// <summary>gelu(y + b) with b [D] along the last axis. Gradients of "y" and "b".</summary>
    public static RefResult BiasGelu(RefTensor y, RefTensor b, RefTensor? doutput = null)
    {
        var run = new Differentiation(doutput);
        VarTensor input = run.Input("y", y), bias = run.Input("b", b);
        MapRows(run, input, doutput, row => [.. row.Zip(bias.Data, (a, c) => Activations.Apply("gelu", a + c))]);
        return run.Result();
    }

    /// <summary>"swiglu", "sigmoidglu" or "powglu" of x and y. Gradients of "x" and "y".</summary>
    public static RefResult GatedActivation(string name, RefTensor x, RefTensor y, double power = 3, RefTensor? doutput = null)
    {
        y.Require(nameof(y), x.Shape);
        var run = new Differentiation(doutput);
        VarTensor a = run.Input("x", x), b = run.Input("y", y);
        run.Output("o", doutput, x.Shape);
        for (int i = 0; i < x.Length; i++)
        {
            run.Set("o", i, Activations.ApplyGated(name, a.Data[i], b.Data[i], power));
        }

        return run.Result();
    }

    /// <summary>
    /// A linear map of a gated activation: glu(x, y) Wᵀ (+ bias), W [out, in]. Gradients of "x", "y", "weight", "bias".
    /// </summary>
    public static RefResult GatedLinear(
        string name, RefTensor x, RefTensor y, RefTensor weight, RefTensor? bias = null, double power = 3, RefTensor? doutput = null)
    {
        y.Require(nameof(y), x.Shape);
        var run = new Differentiation(doutput);
        VarTensor a = run.Input("x", x), b = run.Input("y", y), w = run.Input("weight", weight);
        VarTensor? c = run.OptionalInput("bias", bias);
        int width = x.Shape[^1], features = weight.Shape[0];
        run.Output("o", doutput, [.. x.Shape[..^1], features]);
        for (int r = 0; r < x.Length / width; r++)
        {
            var product = new Var[width];
            for (int i = 0; i < width; i++)
            {
                product[i] = Activations.ApplyGated(name, a.Row(r)[i], b.Row(r)[i], power);
            }

            Var[] o = LinearRow(product, w, c);
            for (int i = 0; i < features; i++)
            {
                run.Set("o", (r * features) + i, o[i]);
            }

            run.EndPiece();
        }

        return run.Result();
    }
}
