using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>y = RMSNorm(x) · w · swish(g) over the last axis, in one pass.</summary>
public sealed class FusedRmsNormGated : Module
{
    /// <summary>A gated norm.</summary>
    /// <param name="device">Where.</param>
    /// <param name="width">Size of the last axis.</param>
    /// <param name="eps">Added to the mean square.</param>
    /// <param name="isAffine">Whether there is a weight.</param>
    /// <param name="dtype">Float type of the weight.</param>
    public FusedRmsNormGated(ComputeDevice device, int width, double eps = 1e-5, bool isAffine = true, DType dtype = DType.Float32)
        : base(device, dtype)
    {
        Eps = (float)eps;
        Weight = isAffine ? AddParameter("weight", width) : null;
    }

    /// <summary>Added to the mean square.</summary>
    public float Eps { get; }

    /// <summary>w, or null.</summary>
    public Tensor? Weight { get; }

    /// <summary>Normalises and gates.</summary>
    /// <param name="x">[..., width].</param>
    /// <param name="g">Gate, of x's shape.</param>
    /// <returns>[..., width].</returns>
    public Tensor Forward(Tensor x, Tensor g) => Norms.FusedRmsNormGated(x, g, Weight, eps: Eps);

    /// <inheritdoc/>
    protected override void InitializeOwn(Initializer initializer, Func<string, string> name) => Weight?.Fill(1);
}
