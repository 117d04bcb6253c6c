namespace Fla.Testing.References;

/// <summary>
/// Every norm of the library: s = x (+ residual), optionally · act(gate); ŷ = (s − mean) · rstd over each of
/// <see cref="Groups"/> equal parts of the last axis; o = ŷ·weight (+ bias), optionally · act(gate).
/// </summary>
internal sealed record Normalization
{
    public required RefTensor X { get; init; }

    public RefTensor? Weight { get; init; }

    public RefTensor? Bias { get; init; }

    public RefTensor? Residual { get; init; }

    public RefTensor? Gate { get; init; }

    public string GateActivation { get; init; } = "swish";

    public bool GateBeforeNorm { get; init; }

    public int Groups { get; init; } = 1;

    public bool SubtractMean { get; init; }

    public double Eps { get; init; } = 1e-5;

    public RefTensor? OutputGradient { get; init; }

    /// <summary>Gradient of the sum s that prenorm hands on.</summary>
    public RefTensor? SumGradient { get; init; }

    public RefResult Run()
    {
        int width = X.Shape[^1], groupWidth = width / Groups;
        if (width % Groups != 0)
        {
            throw new ArgumentException($"A width of {width} is not divisible into {Groups} groups.", nameof(Groups));
        }

        Weight?.Require(nameof(Weight), width);
        Bias?.Require(nameof(Bias), width);
        Residual?.Require(nameof(Residual), X.Shape);
        Gate?.Require(nameof(Gate), X.Shape);
        var run = new Differentiation(OutputGradient, SumGradient);
        VarTensor x = run.Input("x", X);
        VarTensor? weight = run.OptionalInput("weight", Weight), bias = run.OptionalInput("bias", Bias);
        VarTensor? residual = run.OptionalInput("residual", Residual), gate = run.OptionalInput("g", Gate);
        run.Output("o", OutputGradient, X.Shape);
        bool prenorm = Residual is not null || SumGradient is not null;
        if (prenorm)
        {
            run.Output("residual", SumGradient, X.Shape);
        }

        for (int start = 0; start < X.Length; start += groupWidth)
        {
            var s = new Var[groupWidth];
            for (int i = 0; i < groupWidth; i++)
            {
                s[i] = x.Data[start + i] + (residual?.Data[start + i] ?? 0);
                if (prenorm)
                {
                    run.Set("residual", start + i, s[i]);
                }

                s[i] = GateBeforeNorm ? s[i] * Factor(start + i) : s[i];
            }

            if (SubtractMean)
            {
                Var mean = Var.Sum(s) / groupWidth;
                s = Array.ConvertAll(s, a => a - mean);
            }

            Var rstd = 1 / Var.Sqrt((Var.Dot(s, s) / groupWidth) + Eps);
            for (int i = 0; i < groupWidth; i++)
            {
                int column = (start + i) % width;
                Var y = (s[i] * rstd * (weight?.Data[column] ?? 1)) + (bias?.Data[column] ?? 0);
                run.Set("o", start + i, GateBeforeNorm ? y : y * Factor(start + i));
            }

            run.EndPiece();
        }

        return run.Result();

        Var Factor(int index) => gate is null ? 1 : Activations.Apply(GateActivation, gate.Data[index]);
    }
}
