namespace Fla.Vulkan.Ops;

/// <summary>
/// Products of the few rows of a decoding step, with what comes before and after them in the same kernel: such a step is bound by reading the weights, and by
/// waiting between kernels. Not differentiable.
/// </summary>
/// <exception cref="ShapeException">Sizes do not fit.</exception>
/// <exception cref="DTypeException">Types differ or are no float types.</exception>
/// <exception cref="DeviceException">Tensors of two devices.</exception>
/// <exception cref="AutogradException">Gradients are recorded, or there are more than <see cref="MaxRows"/> rows.</exception>
public static class DecodeProducts
{
    /// <summary>Most rows.</summary>
    public const int MaxRows = SkinnyProduct.MaxRows;

    /// <summary>Whether these products take x: it has few rows, and <see cref="Autograd.IsInference"/>.</summary>
    /// <param name="x">[..., in].</param>
    public static bool Takes(Tensor x)
    {
        ArgumentNullException.ThrowIfNull(x);
        return Autograd.IsInference && x.Rank > 0 && x.Count > 0 && RowLayout.RowCount(x) <= MaxRows;
    }

    /// <summary>Whether a product can apply a norm to x as it reads it; else the norm has to come before.</summary>
    /// <param name="x">[..., in].</param>
    /// <param name="norm">The norm.</param>
    public static bool Takes(Tensor x, RowNorm norm) => Takes(x) && SkinnyProduct.CanNorm(x, (int)RowLayout.RowCount(x), x.Size(-1), norm);

    /// <summary>y = norm(x)·Wᵀ + b + other.</summary>
    /// <param name="x">[..., in].</param>
    /// <param name="weight">[out, in], of x's type.</param>
    /// <param name="bias">[out], of x's type; or null.</param>
    /// <param name="norm">One that <see cref="Takes(Tensor, RowNorm)"/> allows; or null.</param>
    /// <param name="other">[..., out], of x's type; or null.</param>
    /// <returns>[..., out], of x's type.</returns>
    public static Tensor Linear(Tensor x, Tensor weight, Tensor? bias = null, RowNorm? norm = null, Tensor? other = null) =>
        Run(x, weight, bias, norm, null, other, null);

    /// <summary>act(norm(x)·Gᵀ) · norm(x)·Uᵀ.</summary>
    /// <param name="x">[..., in].</param>
    /// <param name="gate">G [out, in], of x's type.</param>
    /// <param name="up">U, like G.</param>
    /// <param name="norm">One that <see cref="Takes(Tensor, RowNorm)"/> allows; or null.</param>
    /// <param name="power">The power of <see cref="Activations.PowGlu"/>; null for <see cref="Activations.SwiGlu"/>.</param>
    /// <returns>[..., out], of x's type.</returns>
    public static Tensor Glu(Tensor x, Tensor gate, Tensor up, RowNorm? norm = null, float? power = null)
    {
        ArgumentNullException.ThrowIfNull(up);
        Require.Shape(up, nameof(up), gate.Shape);
        return Run(x, gate, null, norm, up, null, power is null ? ElementFunction.SwiGlu : ElementFunction.PowGlu, power ?? 0);
    }

    private static Tensor Run(Tensor x, Tensor weight, Tensor? bias, RowNorm? norm, Tensor? second, Tensor? other, ElementFunction? function, float parameter = 0)
    {
        Require.SameDevice(x, weight, bias, second, other, norm?.Weight, norm?.Gate);
        Require.Rank(weight, 2, nameof(weight));
        Require.Float(x, nameof(x));
        foreach (var tensor in new[] { weight, bias, second, other, norm?.Weight, norm?.Gate }) Require.Type(tensor, x.DType, "every operand");
        var (outputs, inputs) = (weight.Size(0), weight.Size(1));
        Require.That(x.Rank >= 1 && x.Size(-1) == inputs, $"x needs {inputs} features to meet the weight {weight.Describe()}, it is {x.Describe()}");
        Require.Shape(bias, nameof(bias), outputs);
        int[] shape = [.. x.Shape[..^1], outputs];
        Require.That(other is null || other.Shape.SequenceEqual(shape), $"{other?.Describe()} cannot be added to a product [{string.Join(", ", shape)}]");
        if (norm is { } n)
        {
            Require.Shape(n.Weight, "the norm's weight", n.Width);
            Require.That(n.Gate is null || n.Gate.Count == x.Count, $"the gate {n.Gate?.Describe()} does not fit {x.Describe()}");
            Require.That(Takes(x, n), $"a norm over runs of {n.Width} cannot be a part of the product of {x.Describe()}");
        }
        if (!Takes(x)) throw new AutogradException($"a product of a decoding step has no gradient and at most {MaxRows} rows, not those of {x.Describe()}: use Products.Linear");
        var y = Tensor.Empty(x.Device, x.DType, shape);
        if (y.Count == 0) return y;
        new SkinnyProduct
        {
            A = x, B = weight, C = y, M = (int)RowLayout.RowCount(x), N = outputs, K = inputs, Alpha = 1, Bias = bias, D = other, Beta = 1, B2 = second, Function = function, Parameter = parameter,
            Norm = norm,
        }.Run();
        return y;
    }
}
