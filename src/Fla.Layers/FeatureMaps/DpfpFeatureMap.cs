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
    public override Tensor Forward(Tensor x)
    {
        using var scope = Device.Scope();
        var positive = Activations.Relu(x);
        var r = Layout.ConcatLast(positive, Elementwise.Scale(positive, -1));
        return scope.Keep(Layout.ConcatLast([.. Enumerable.Range(1, Shifts).Select(j => Elementwise.Mul(r, Layout.RollLast(r, j)))]));
    }
}
