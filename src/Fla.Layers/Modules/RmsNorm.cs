using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>y = x / √(mean(x²) + eps) · w over the last axis, in fp32 inside (Zhang and Sennrich 2019).</summary>
public sealed class RmsNorm : Norm
{
    private readonly int _width;

    /// <summary>A norm.</summary>
    /// <param name="device">Where.</param>
    /// <param name="width">Size of the last axis.</param>
    /// <param name="eps">Added to the mean square.</param>
    /// <param name="isAffine">Whether there is a weight.</param>
    /// <param name="dtype">Float type of the weight.</param>
    public RmsNorm(ComputeDevice device, int width, double eps = 1e-6, bool isAffine = true, DType dtype = DType.Float32)
        : base(device, dtype)
    {
        Eps = (float)eps;
        _width = width;
        Weight = isAffine ? AddParameter("weight", WeightRules.One, width) : null;
    }

    /// <summary>Added to the mean square.</summary>
    public float Eps { get; }

    /// <summary>w, or null.</summary>
    public Tensor? Weight { get; }

    /// <inheritdoc/>
    public override RowNorm? InProduct => new(_width, Eps, Weight);

    /// <inheritdoc/>
    public override Tensor Forward(Tensor x) => Norms.RmsNorm(x, Weight, eps: Eps);

    /// <inheritdoc/>
    public override (Tensor Y, Tensor Residual) Forward(Tensor x, Tensor residual) => Norms.RmsNormPrenorm(x, Weight, residual: residual, eps: Eps);
}
