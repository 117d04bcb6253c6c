using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>A table of vectors, one for each token.</summary>
public sealed class Embedding : Module
{
    /// <summary>A table.</summary>
    /// <param name="device">Where.</param>
    /// <param name="count">Number of tokens, V.</param>
    /// <param name="width">Width of a vector, D.</param>
    /// <param name="rule">What fresh vectors are filled with; normal values when null.</param>
    /// <param name="dtype">Float type of the vectors.</param>
    public Embedding(ComputeDevice device, int count, int width, WeightRule? rule = null, DType dtype = DType.Float32)
        : base(device, dtype) => Weight = AddParameter("weight", rule ?? WeightRules.Normal, count, width);

    /// <summary>The vectors [V, D].</summary>
    public Tensor Weight { get; }

    /// <summary>Looks tokens up.</summary>
    /// <param name="ids">i32 [...], each in [0, V).</param>
    /// <returns>[..., D].</returns>
    public Tensor Forward(Tensor ids) => Embeddings.Lookup(Weight, ids);
}
