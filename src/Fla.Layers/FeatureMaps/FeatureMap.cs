using Fla.Vulkan;

namespace Fla.Layers;

/// <summary>A map of queries and keys to features, in place of softmax's exponential: φ(q)·φ(k) weighs a value.</summary>
/// <param name="device">Where.</param>
/// <param name="width">Number of features, F.</param>
/// <param name="dtype">Float type of the parameters.</param>
public abstract class FeatureMap(ComputeDevice device, int width, DType dtype) : Module(device, dtype)
{
    /// <summary>Number of features, F.</summary>
    public int Width { get; } = width;

    /// <summary>Maps the last axis.</summary>
    /// <param name="x">[..., K].</param>
    /// <returns>[..., F].</returns>
    public abstract Tensor Forward(Tensor x);

    /// <summary>The map of a config's <c>feature_map</c>: hedgehog, t2r, elementwise_product, dpfp, elu, relu, identity.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="device">Where.</param>
    /// <param name="headK">Width of a key, K.</param>
    /// <param name="dtype">Float type of the parameters.</param>
    /// <exception cref="ArgumentException">Another name.</exception>
    public static FeatureMap Create(string name, ComputeDevice device, int headK, DType dtype) => name switch
    {
        "hedgehog" => new HedgehogFeatureMap(device, headK, dtype),
        "t2r" => new T2RFeatureMap(device, headK, dtype),
        "elementwise_product" => new HadamardFeatureMap(device, headK, dtype),
        "dpfp" => new DpfpFeatureMap(device, headK, dtype),
        "elu" or "relu" or "identity" => new ElementwiseFeatureMap(name, device, headK, dtype),
        _ => throw new ArgumentException($"feature_map '{name}' is none of hedgehog, t2r, elementwise_product, dpfp, elu, relu, identity", nameof(name)),
    };
}
