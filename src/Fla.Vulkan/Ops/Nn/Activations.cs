namespace Fla.Vulkan.Ops;

/// <summary>Activation functions and gated linear units, in fp32, stored in the type of the input.</summary>
public static class Activations
{
    /// <summary>x σ(x), also called swish (Ramachandran et al. 2017).</summary>
    public static Tensor Silu(Tensor x) => ElementMap.Run("silu", ElementFunction.Silu, x);

    /// <summary>σ(x) = 1 / (1 + e⁻ˣ).</summary>
    public static Tensor Sigmoid(Tensor x) => ElementMap.Run("sigmoid", ElementFunction.Sigmoid, x);

    /// <summary>ln σ(x) / temperature.</summary>
    /// <param name="x">Any float tensor.</param>
    /// <param name="temperature">Divisor; GLA's gate logit normalizer.</param>
    /// <exception cref="ShapeException">The temperature is not a finite number other than 0.</exception>
    public static Tensor LogSigmoid(Tensor x, float temperature = 1)
    {
        Require.That(float.IsFinite(temperature) && temperature != 0, $"logsigmoid needs a finite temperature other than 0, not {temperature}");
        return ElementMap.Run("logsigmoid", ElementFunction.LogSigmoid, x, null, 1 / temperature);
    }

    /// <summary>½x(1 + tanh(√(2/π)(x + 0.044715x³))), the tanh form (Hendrycks and Gimpel 2016).</summary>
    public static Tensor Gelu(Tensor x) => ElementMap.Run("gelu", ElementFunction.Gelu, x);

    /// <summary>gelu(x + bias).</summary>
    /// <param name="x">[..., D].</param>
    /// <param name="bias">[D].</param>
    /// <exception cref="ShapeException">The bias is not that of the last axis.</exception>
    public static Tensor BiasGelu(Tensor x, Tensor bias)
    {
        Require.Shape(bias, nameof(bias), x.Size(-1));
        return ElementMap.Run("bias_gelu", ElementFunction.BiasGelu, x, bias);
    }

    /// <summary>max(x, 0).</summary>
    public static Tensor Relu(Tensor x) => ElementMap.Run("relu", ElementFunction.Relu, x);

    /// <summary>max(x, 0)² (So et al. 2021).</summary>
    public static Tensor SquaredRelu(Tensor x) => ElementMap.Run("sqrelu", ElementFunction.SquaredRelu, x);

    /// <summary>elu(x) + 1: x + 1 where x is positive, else eˣ (Katharopoulos et al. 2020).</summary>
    public static Tensor EluPlusOne(Tensor x) => ElementMap.Run("elu_plus_one", ElementFunction.EluPlusOne, x);

    /// <summary>ln(1 + eˣ).</summary>
    public static Tensor Softplus(Tensor x) => ElementMap.Run("softplus", ElementFunction.Softplus, x);

    /// <summary>tanh x.</summary>
    public static Tensor Tanh(Tensor x) => ElementMap.Run("tanh", ElementFunction.Tanh, x);

    /// <summary>silu(x)·y (Shazeer 2020).</summary>
    /// <exception cref="ShapeException">The shapes differ.</exception>
    public static Tensor SwiGlu(Tensor x, Tensor y) => Gated("swiglu", ElementFunction.SwiGlu, x, y);

    /// <summary>σ(x)·y (Dauphin et al. 2016).</summary>
    /// <exception cref="ShapeException">The shapes differ.</exception>
    public static Tensor SigmoidGlu(Tensor x, Tensor y) => Gated("sigmoidglu", ElementFunction.SigmoidGlu, x, y);

    /// <summary>gate(x)·y, gate = x^(power/(√x + 1))·σ(x) for x > 0, else x·σ(x).</summary>
    /// <exception cref="ShapeException">The shapes differ.</exception>
    public static Tensor PowGlu(Tensor x, Tensor y, float power = 3) => Gated("powglu", ElementFunction.PowGlu, x, y, power);

    /// <summary>The activation of a name that configs use: relu, sigmoid, logsigmoid, silu, swish, sqrelu, gelu.</summary>
    /// <exception cref="ArgumentException">No such name.</exception>
    public static Tensor Apply(string name, Tensor x) => name switch
    {
        "relu" => Relu(x),
        "sigmoid" => Sigmoid(x),
        "logsigmoid" => LogSigmoid(x),
        "silu" or "swish" => Silu(x),
        "sqrelu" => SquaredRelu(x),
        "gelu" => Gelu(x),
        _ => throw new ArgumentException($"no activation is named '{name}': relu, sigmoid, logsigmoid, silu, swish, sqrelu or gelu", nameof(name)),
    };

    private static Tensor Gated(string name, ElementFunction function, Tensor x, Tensor y, float power = 0)
    {
        Require.Shape(y, nameof(y), x.Shape);
        return ElementMap.Run(name, function, x, y, power);
    }
}
