using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>y = (x − mean(x)) / √(var(x) + eps) · w + b over the last axis, in fp32 inside (Ba et al. 2016).</summary>
public sealed class LayerNorm : Norm
{
    /// <summary>A norm.</summary>
    /// <param name="device">Where.</param>
    /// <param name="width">Size of the last axis.</param>
    /// <param name="eps">Added to the variance.</param>
    /// <param name="hasBias">Whether there is a bias.</param>
    /// <param name="dtype">Float type of the parameters.</param>
    public LayerNorm(ComputeDevice device, int width, double eps = 1e-5, bool hasBias = true, DType dtype = DType.Float32)
        : base(device, dtype)
    {
        Eps = (float)eps;
        Weight = AddParameter("weight", WeightRules.One, width);
        Bias = hasBias ? AddParameter("bias", WeightRules.Zero, width) : null;
    }

    /// <summary>Added to the variance.</summary>
    public float Eps { get; }

    /// <summary>w.</summary>
    public Tensor Weight { get; }

    /// <summary>b, or null.</summary>
    public Tensor? Bias { get; }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor x) => Norms.LayerNorm(x, Weight, Bias, eps: Eps);

    /// <inheritdoc/>
    public override (Tensor Y, Tensor Residual) Forward(Tensor x, Tensor residual) => Norms.LayerNormPrenorm(x, Weight, Bias, residual, Eps);
}
