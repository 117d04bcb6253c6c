using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>
/// Deterministic parameter-free projection (Schlag et al., "Linear Transformers Are Secretly Fast Weight Programmers", 2021) as fla has it:
/// r = [relu(x), −relu(x)], then r ⊙ roll(r, j) for j = 1..4.
/// </summary>
public sealed class DpfpFeatureMap(ComputeDevice device, int headK, DType dtype = DType.Float32) : FeatureMap(device, 2 * Shifts * headK, dtype)
{
    private const int Shifts = 4;

    /// <inheritdoc/>
    public override Tensor Forward(Tensor x) => FeatureMaps.Dpfp(x, Shifts);
}
