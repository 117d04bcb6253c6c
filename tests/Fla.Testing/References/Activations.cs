namespace Fla.Testing.References;

/// <summary>The scalar functions behind the activation names of configs, and the gated ones of two arguments.</summary>
internal static class Activations
{
    public static Var Apply(string name, Var x) => name switch
    {
        "relu" => Var.Relu(x),
        "sigmoid" => Var.Sigmoid(x),
        "logsigmoid" => LogSigmoid(x),
        "silu" or "swish" => x * Var.Sigmoid(x),
        "sqrelu" => Var.Relu(x) * Var.Relu(x),
        "gelu" => 0.5 * x * (1 + Var.Tanh(0.79788456 * x * (1 + (0.044715 * x * x)))),
        _ => throw new ArgumentException($"No activation is named '{name}'.", nameof(name)),
    };

    public static Var ApplyGated(string name, Var x, Var y, double power) => name switch
    {
        "swiglu" => Apply("swish", x) * y,
        "sigmoidglu" => Var.Sigmoid(x) * y,
        "powglu" => PowGate(x, power) * y,
        _ => throw new ArgumentException($"No gated activation is named '{name}'.", nameof(name)),
    };

    private static Var LogSigmoid(Var x) => Var.Min(0, x) - Var.Log(1 + Var.Exp(-Var.Abs(x)));

    // x^(p / (√x + 1)) σ(x) for x > 0, x σ(x) otherwise.
    private static Var PowGate(Var x, double power) =>
        x.Value > 0 ? Var.Exp(power / (Var.Sqrt(x) + 1) * Var.Log(x)) * Var.Sigmoid(x) : x * Var.Sigmoid(x);
}
