namespace Fla.Vulkan.Ops;

/// <summary>The function that a gated norm applies to its gate.</summary>
public enum NormGate
{
    /// <summary>g·σ(g).</summary>
    Swish,

    /// <summary>σ(g).</summary>
    Sigmoid,
}

/// <summary>
/// Normalisations of the last axis in fp32, stored in the type of x; weight and bias [D] of any float type may be absent. The residual, of x's shape
/// and any float type, is added before: s = x + residual. The prenorm forms also return s, in the residual's type, else in f32 if
/// <c>residualInFp32</c>, else in x's.
/// </summary>
/// <exception cref="ShapeException">Shapes do not fit.</exception>
/// <exception cref="DTypeException">An operand holds integers, or a gate has another type than x.</exception>
public static class Norms
{
    /// <summary>s / √(mean(s²) + eps) · weight + bias (Zhang and Sennrich 2019).</summary>
    /// <param name="x">[..., D].</param>
    /// <param name="weight">[D] or null.</param>
    /// <param name="bias">[D] or null.</param>
    /// <param name="residual">Of x's shape, or null.</param>
    /// <param name="eps">Added under the root.</param>
    public static Tensor RmsNorm(Tensor x, Tensor? weight = null, Tensor? bias = null, Tensor? residual = null, float eps = 1e-5f) =>
        Plain("rms_norm", x, weight, bias, residual, eps, false, 1).Run();

    /// <summary>As <see cref="RmsNorm"/>, with the sum that was normalised.</summary>
    public static (Tensor O, Tensor Residual) RmsNormPrenorm(Tensor x, Tensor? weight = null, Tensor? bias = null, Tensor? residual = null, float eps = 1e-5f,
        bool residualInFp32 = false) => Prenorm(Plain("rms_norm", x, weight, bias, residual, eps, false, 1), residualInFp32);

    /// <summary>(s − mean) / √(var + eps) · weight + bias, with the biased variance (Ba et al. 2016).</summary>
    /// <param name="x">[..., D].</param>
    /// <param name="weight">[D] or null.</param>
    /// <param name="bias">[D] or null.</param>
    /// <param name="residual">Of x's shape, or null.</param>
    /// <param name="eps">Added under the root.</param>
    public static Tensor LayerNorm(Tensor x, Tensor? weight = null, Tensor? bias = null, Tensor? residual = null, float eps = 1e-5f) =>
        Plain("layer_norm", x, weight, bias, residual, eps, true, 1).Run();

    /// <summary>As <see cref="LayerNorm"/>, with the sum that was normalised.</summary>
    public static (Tensor O, Tensor Residual) LayerNormPrenorm(Tensor x, Tensor? weight = null, Tensor? bias = null, Tensor? residual = null, float eps = 1e-5f,
        bool residualInFp32 = false) => Prenorm(Plain("layer_norm", x, weight, bias, residual, eps, true, 1), residualInFp32);

    /// <summary>LayerNorm or RmsNorm over each of <paramref name="numGroups"/> equal parts of the last axis.</summary>
    /// <param name="x">[..., D].</param>
    /// <param name="numGroups">A divisor of D.</param>
    /// <param name="weight">[D] or null.</param>
    /// <param name="bias">[D] or null.</param>
    /// <param name="residual">Of x's shape, or null.</param>
    /// <param name="eps">Added under the root.</param>
    /// <param name="isRmsNorm">RmsNorm instead of LayerNorm.</param>
    public static Tensor GroupNorm(Tensor x, int numGroups, Tensor? weight = null, Tensor? bias = null, Tensor? residual = null, float eps = 1e-5f, bool isRmsNorm = false) =>
        Plain("group_norm", x, weight, bias, residual, eps, !isRmsNorm, numGroups).Run();

    /// <summary>As <see cref="GroupNorm"/>, with the sum that was normalised.</summary>
    public static (Tensor O, Tensor Residual) GroupNormPrenorm(Tensor x, int numGroups, Tensor? weight = null, Tensor? bias = null, Tensor? residual = null, float eps = 1e-5f,
        bool isRmsNorm = false, bool residualInFp32 = false) => Prenorm(Plain("group_norm", x, weight, bias, residual, eps, !isRmsNorm, numGroups), residualInFp32);

    /// <summary>RmsNorm(s)·act(g): FusedRMSNormGated of fla.</summary>
    /// <param name="x">[..., D].</param>
    /// <param name="g">The gate, of x's shape and type.</param>
    /// <param name="weight">[D] or null.</param>
    /// <param name="residual">Of x's shape, or null.</param>
    /// <param name="eps">Added under the root.</param>
    /// <param name="activation">Applied to the gate.</param>
    public static Tensor FusedRmsNormGated(Tensor x, Tensor g, Tensor? weight = null, Tensor? residual = null, float eps = 1e-5f, NormGate activation = NormGate.Swish) =>
        GatedAfter("rms_norm_gated", x, g, weight, null, residual, eps, activation, false).Run();

    /// <summary>As <see cref="FusedRmsNormGated"/>, with the sum that was normalised.</summary>
    public static (Tensor O, Tensor Residual) FusedRmsNormGatedPrenorm(Tensor x, Tensor g, Tensor? weight = null, Tensor? residual = null, float eps = 1e-5f,
        NormGate activation = NormGate.Swish, bool residualInFp32 = false) =>
        Prenorm(GatedAfter("rms_norm_gated", x, g, weight, null, residual, eps, activation, false), residualInFp32);

    /// <summary>LayerNorm(s)·act(g): FusedLayerNormGated of fla.</summary>
    /// <param name="x">[..., D].</param>
    /// <param name="g">The gate, of x's shape and type.</param>
    /// <param name="weight">[D] or null.</param>
    /// <param name="bias">[D] or null.</param>
    /// <param name="residual">Of x's shape, or null.</param>
    /// <param name="eps">Added under the root.</param>
    /// <param name="activation">Applied to the gate.</param>
    public static Tensor FusedLayerNormGated(Tensor x, Tensor g, Tensor? weight = null, Tensor? bias = null, Tensor? residual = null, float eps = 1e-5f,
        NormGate activation = NormGate.Swish) => GatedAfter("layer_norm_gated", x, g, weight, bias, residual, eps, activation, true).Run();

    /// <summary>As <see cref="FusedLayerNormGated"/>, with the sum that was normalised.</summary>
    public static (Tensor O, Tensor Residual) FusedLayerNormGatedPrenorm(Tensor x, Tensor g, Tensor? weight = null, Tensor? bias = null, Tensor? residual = null,
        float eps = 1e-5f, NormGate activation = NormGate.Swish, bool residualInFp32 = false) =>
        Prenorm(GatedAfter("layer_norm_gated", x, g, weight, bias, residual, eps, activation, true), residualInFp32);

    /// <summary>
    /// Mamba's gated norm (Dao and Gu 2024): norm(x)·weight·silu(z), or norm(x·silu(z))·weight, over parts of <paramref name="groupSize"/> channels; a
    /// plain norm without z.
    /// </summary>
    /// <param name="x">[..., D].</param>
    /// <param name="z">The gate, of x's shape and type, or null.</param>
    /// <param name="weight">[D] or null.</param>
    /// <param name="bias">[D] or null.</param>
    /// <param name="eps">Added under the root.</param>
    /// <param name="groupSize">A divisor of D; D when null.</param>
    /// <param name="normBeforeGate">Which of the two forms.</param>
    /// <param name="isRmsNorm">RmsNorm, else LayerNorm.</param>
    public static Tensor NormGated(Tensor x, Tensor? z, Tensor? weight = null, Tensor? bias = null, float eps = 1e-5f, int? groupSize = null, bool normBeforeGate = false,
        bool isRmsNorm = true)
    {
        Require.That(x.Rank > 0, "a scalar cannot be normalised");
        var size = groupSize ?? x.Size(-1);
        Require.That(size > 0 && x.Size(-1) % size == 0, $"{x.Size(-1)} channels do not divide into groups of {size}");
        return new NormCall
        {
            Name = "norm_gated", X = x, Gate = z, GateBeforeNorm = !normBeforeGate, Weight = weight, Bias = bias, Eps = eps, Groups = x.Size(-1) / size,
            SubtractMean = !isRmsNorm,
        }.Run();
    }

    /// <summary>What <see cref="L2Norm"/> adds under the root.</summary>
    internal const float L2Eps = 1e-6f;

    /// <summary>x / √(Σx² + eps) over the last axis.</summary>
    /// <param name="x">[..., D].</param>
    /// <param name="eps">Added under the root.</param>
    /// <param name="outputType">Type of the result; x's when null.</param>
    public static Tensor L2Norm(Tensor x, float eps = L2Eps, DType? outputType = null)
    {
        Require.That(outputType is not { } t || t.IsFloat(), $"the l2 norm has a float type, not {outputType}");
        return new NormCall { Name = "l2norm", X = x, Eps = eps, IsSum = true, Output = outputType }.Run();
    }

    private static NormCall Plain(string name, Tensor x, Tensor? weight, Tensor? bias, Tensor? residual, float eps, bool subtractMean, int groups) =>
        new() { Name = name, X = x, Weight = weight, Bias = bias, Residual = residual, Eps = eps, SubtractMean = subtractMean, Groups = groups };

    private static NormCall GatedAfter(string name, Tensor x, Tensor g, Tensor? weight, Tensor? bias, Tensor? residual, float eps, NormGate activation, bool subtractMean) =>
        new()
        {
            Name = name, X = x, Gate = g, Weight = weight, Bias = bias, Residual = residual, Eps = eps, GateIsSigmoid = activation == NormGate.Sigmoid,
            SubtractMean = subtractMean,
        };

    private static (Tensor O, Tensor Residual) Prenorm(NormCall call, bool residualInFp32)
    {
        var (o, sum) = call.Run(isPrenorm: true, residualInFp32);
        return (o, sum!);
    }
}
