using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>y = x Wᵀ (+ b), W stored [out, in].</summary>
public sealed class Linear : Module
{
    /// <summary>A linear map.</summary>
    /// <param name="device">Where.</param>
    /// <param name="inFeatures">Width of the input.</param>
    /// <param name="outFeatures">Width of the output.</param>
    /// <param name="hasBias">Whether there is a bias.</param>
    /// <param name="weightRule">What a fresh weight is filled with; normal values when null.</param>
    /// <param name="biasRule">What a fresh bias is filled with; zeros when null.</param>
    /// <param name="dtype">Float type of the parameters.</param>
    public Linear(ComputeDevice device, int inFeatures, int outFeatures, bool hasBias = false, WeightRule? weightRule = null, WeightRule? biasRule = null,
        DType dtype = DType.Float32)
        : base(device, dtype)
    {
        Weight = AddParameter("weight", weightRule ?? WeightRules.Normal, outFeatures, inFeatures);
        Bias = hasBias ? AddParameter("bias", biasRule ?? WeightRules.Zero, outFeatures) : null;
    }

    /// <summary>W [out, in].</summary>
    public Tensor Weight { get; }

    /// <summary>b [out], or null.</summary>
    public Tensor? Bias { get; }

    /// <summary>Applies the map to the last axis.</summary>
    /// <param name="x">[..., in].</param>
    /// <returns>[..., out].</returns>
    public Tensor Forward(Tensor x) => Products.Linear(x, Weight, Bias);
}
