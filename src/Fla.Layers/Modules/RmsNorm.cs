using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>y = x / √(mean(x²) + eps) · w over the last axis, in fp32 inside (Zhang and Sennrich 2019).</summary>
public sealed class RmsNorm : Module
{
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
        Weight = isAffine ? AddParameter("weight", width) : null;
    }

    /// <summary>Added to the mean square.</summary>
    public float Eps { get; }

    /// <summary>w, or null.</summary>
    public Tensor? Weight { get; }

    /// <summary>Normalises.</summary>
    /// <param name="x">[..., width].</param>
    /// <returns>[..., width].</returns>
    public Tensor Forward(Tensor x) => Norms.RmsNorm(x, Weight, eps: Eps);

    /// <summary>Adds a residual, in fp32, and normalises the sum.</summary>
    /// <param name="x">[..., width].</param>
    /// <param name="residual">[..., width].</param>
    /// <returns>The normed sum, and the sum in the residual's type.</returns>
    public (Tensor Y, Tensor Residual) Forward(Tensor x, Tensor residual) => Norms.RmsNormPrenorm(x, Weight, residual: residual, eps: Eps);

    /// <inheritdoc/>
    protected override void InitializeOwn(Initializer initializer, Func<string, string> name) => Weight?.Fill(1);
}
