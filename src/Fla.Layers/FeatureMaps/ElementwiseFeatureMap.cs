using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>A map without parameters, element by element: elu (elu(x) + 1, Katharopoulos et al. 2020), relu or identity.</summary>
public sealed class ElementwiseFeatureMap(string name, ComputeDevice device, int headK, DType dtype = DType.Float32) : FeatureMap(device, headK, dtype)
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor x) => name switch
    {
        "elu" => Activations.EluPlusOne(x),
        "relu" => Activations.Relu(x),
        "identity" => x,
        _ => throw new InvalidOperationException($"no map is named '{name}'"),
    };
}
