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
    /// <param name="dtype">Float type of the vectors.</param>
    public Embedding(ComputeDevice device, int count, int width, DType dtype = DType.Float32)
        : base(device, dtype) => Weight = AddParameter("weight", count, width);

    /// <summary>The vectors [V, D].</summary>
    public Tensor Weight { get; }

    /// <summary>Looks tokens up.</summary>
    /// <param name="ids">i32 [...], each in [0, V).</param>
    /// <returns>[..., D].</returns>
    public Tensor Forward(Tensor ids) => Embeddings.Lookup(Weight, ids);

    /// <inheritdoc/>
    protected override void InitializeOwn(Initializer initializer, Func<string, string> name) => initializer.Normal(Weight, name("weight"));
}
