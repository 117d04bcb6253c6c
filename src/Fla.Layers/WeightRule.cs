using Fla.Vulkan;

namespace Fla.Layers;

/// <summary>How a fresh parameter is filled.</summary>
/// <param name="initializer">Seed, and standard deviation of normal weights.</param>
/// <param name="parameter">What to fill.</param>
/// <param name="name">Its full name: random values depend on it.</param>
public delegate void WeightRule(Initializer initializer, Tensor parameter, string name);

/// <summary>The rules of fla's layers.</summary>
public static class WeightRules
{
    private const double StepMin = 1e-3;
    private const double StepMax = 0.1;
    private const double StepFloor = 1e-4;

    /// <summary>Normal values of mean 0 and the model's <c>initializer_range</c>: weights of linear maps, convolutions and embeddings.</summary>
    public static WeightRule Normal { get; } = static (initializer, parameter, name) => initializer.Normal(parameter, name);

    /// <summary>Zeros: biases.</summary>
    public static WeightRule Zero { get; } = Constant(0);

    /// <summary>Ones: weights of norms.</summary>
    public static WeightRule One { get; } = Constant(1);

    /// <summary>Ones on the diagonal of a square matrix.</summary>
    public static WeightRule Identity { get; } = Values(static i => i[0] == i[1] ? 1 : 0);

    /// <summary>
    /// The bias whose softplus is a time step of 0.001 to 0.1, spread evenly over the logarithm: Δ + ln(1 − e^−Δ) (Gu and Dao, "Mamba", 2023).
    /// </summary>
    public static WeightRule InverseSoftplusOfStep { get; } = Mapped(static u =>
    {
        var step = Math.Max(StepFloor, StepMin * Math.Pow(StepMax / StepMin, u));
        return step + Math.Log(1 - Math.Exp(-step));
    });

    /// <summary>One value everywhere.</summary>
    public static WeightRule Constant(float value) => (_, parameter, _) => parameter.Fill(value);

    /// <summary>Even values between two bounds.</summary>
    public static WeightRule Uniform(double low, double high) => Mapped(u => low + ((high - low) * u));

    /// <summary>Logarithms of even values between two bounds: <c>A_log</c>.</summary>
    public static WeightRule LogUniform(double low, double high) => Mapped(u => Math.Log(low + ((high - low) * u)));

    /// <summary>Even values of the variance 1/(3·fan_in) divided by a number (He et al. 2015, with torch's a = √5).</summary>
    public static WeightRule KaimingUniform(double divisor = 1) => (initializer, parameter, name) =>
    {
        var bound = 1 / (Math.Sqrt(parameter.Count / parameter.Size(0)) * divisor);
        initializer.Mapped(parameter, name, u => bound * ((2 * u) - 1));
    };

    /// <summary>A matrix whose rows, or columns where they are fewer, are orthogonal and of the length <paramref name="gain"/> (Saxe et al. 2014).</summary>
    public static WeightRule Orthogonal(double gain = 1) => (initializer, parameter, name) => initializer.Orthogonal(parameter, name, gain);

    /// <summary>Values that follow from the place: <paramref name="value"/> takes the indices.</summary>
    public static WeightRule Values(Func<int[], double> value) => (_, parameter, _) =>
    {
        var shape = parameter.Shape.ToArray();
        var index = new int[shape.Length];
        var values = new float[parameter.Count];
        for (var i = 0; i < values.Length; i++)
        {
            for (int axis = shape.Length - 1, rest = i; axis >= 0; rest /= shape[axis--]) index[axis] = rest % shape[axis];
            values[i] = (float)value(index);
        }
        parameter.Write(values);
    };

    private static WeightRule Mapped(Func<double, double> value) => (initializer, parameter, name) => initializer.Mapped(parameter, name, value);
}
