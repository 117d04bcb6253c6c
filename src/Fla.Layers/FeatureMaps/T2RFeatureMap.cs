using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>relu(Wx) (Kasai et al., "Finetuning Pretrained Transformers into RNNs", 2021).</summary>
public sealed class T2RFeatureMap : FeatureMap
{
    private readonly Linear _layer;

    /// <summary>A map of K channels to as many features.</summary>
    public T2RFeatureMap(ComputeDevice device, int headK, DType dtype = DType.Float32)
        : base(device, headK, dtype) => _layer = AddModule("layer", () => new Linear(device, headK, headK, dtype: dtype));

    /// <inheritdoc/>
    public override Tensor Forward(Tensor x) => Activations.Relu(_layer.Forward(x));
}
