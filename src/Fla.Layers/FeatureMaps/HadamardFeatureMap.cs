using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>(W₁x + b₁) ⊙ (W₂x + b₂): fla's elementwise_product.</summary>
public sealed class HadamardFeatureMap : FeatureMap
{
    private readonly Linear _first;
    private readonly Linear _second;

    /// <summary>A map of K channels to as many features.</summary>
    public HadamardFeatureMap(ComputeDevice device, int headK, DType dtype = DType.Float32)
        : base(device, headK, dtype)
    {
        _first = AddModule("layer1", () => new Linear(device, headK, headK, hasBias: true, dtype: dtype));
        _second = AddModule("layer2", () => new Linear(device, headK, headK, hasBias: true, dtype: dtype));
    }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor x) => Elementwise.Mul(_first.Forward(x), _second.Forward(x));
}
