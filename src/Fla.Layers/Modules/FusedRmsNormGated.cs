using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>y = RMSNorm(x) · w · act(g) over the last axis, act = swish or σ, in one pass.</summary>
public sealed class FusedRmsNormGated : Module
{
    private readonly NormGate _activation;
    private readonly int _width;

    /// <summary>A gated norm.</summary>
    /// <param name="device">Where.</param>
    /// <param name="width">Size of the last axis.</param>
    /// <param name="eps">Added to the mean square.</param>
    /// <param name="isAffine">Whether there is a weight.</param>
    /// <param name="activation">Activation of the gate.</param>
    /// <param name="dtype">Float type of the weight.</param>
    public FusedRmsNormGated(ComputeDevice device, int width, double eps = 1e-5, bool isAffine = true, NormGate activation = NormGate.Swish,
        DType dtype = DType.Float32)
        : base(device, dtype)
    {
        Eps = (float)eps;
        _width = width;
        _activation = activation;
        Weight = isAffine ? AddParameter("weight", WeightRules.One, width) : null;
    }

    /// <summary>Added to the mean square.</summary>
    public float Eps { get; }

    /// <summary>w, or null.</summary>
    public Tensor? Weight { get; }

    /// <summary>The norm with a gate as a product of a decoding step can apply it to its input.</summary>
    /// <param name="g">Gate, of the input's elements.</param>
    public RowNorm InProduct(Tensor g) => new(_width, Eps, Weight, g, _activation);

    /// <summary>Normalises and gates.</summary>
    /// <param name="x">[..., width].</param>
    /// <param name="g">Gate, of x's shape.</param>
    /// <returns>[..., width].</returns>
    public Tensor Forward(Tensor x, Tensor g) => Norms.FusedRmsNormGated(x, g, Weight, eps: Eps, activation: _activation);
}
