using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>softmax([2h, −2h]), h = Wx + b (Zhang et al., "The Hedgehog and the Porcupine", 2024). Starts with W the identity and b zero.</summary>
public sealed class HedgehogFeatureMap : FeatureMap
{
    private readonly Linear _layer;

    /// <summary>A map of K channels to 2K features.</summary>
    public HedgehogFeatureMap(ComputeDevice device, int headK, DType dtype = DType.Float32)
        : base(device, 2 * headK, dtype) =>
        _layer = AddModule("layer", () => new Linear(device, headK, headK, hasBias: true, WeightRules.Identity, dtype: dtype));

    /// <inheritdoc/>
    public override Tensor Forward(Tensor x)
    {
        using var h = _layer.Forward(x);
        return FeatureMaps.Hedgehog(h);
    }
}
