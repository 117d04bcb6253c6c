using Fla.Layers;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Models;

/// <summary>
/// Attention residuals: in place of a running sum, softmax attention over what earlier layers added (depth attention), with one learned query:
/// o = Σ_l p_l v_l, p = softmax_l(q · norm(v_l)), in fp32.
/// </summary>
internal sealed class DepthMix(Linear query, Norm norm)
{
    /// <summary>A fresh query, [1, D]: zero, so that all sources count the same at first.</summary>
    public static Linear Query(ComputeDevice device, int width, DType dtype) => new(device, width, 1, weightRule: WeightRules.Zero, dtype: dtype);

    /// <summary>The mean of the sources, normed: what a layer reads.</summary>
    /// <param name="sources">[B, T, D] each.</param>
    /// <param name="outputNorm">Norm of what the layer reads.</param>
    /// <returns>[B, T, D] in the sources' type.</returns>
    public Tensor Forward(IReadOnlyList<Tensor> sources, Norm outputNorm)
    {
        var q = query.Weight.To(DType.Float32);
        Tensor[] values = [.. sources.Select(x => x.To(DType.Float32))];
        var weights = Softmaxes.Softmax(Layouts.Concat(2, [.. values.Select(x => Products.Linear(norm.Forward(x), q))]));
        var mean = values.Select((x, l) => Elementwise.Mul(x, Layouts.Slice(weights, 2, l, 1))).Aggregate((x, y) => Elementwise.Add(x, y));
        return outputNorm.Forward(mean).To(sources[0].DType);
    }
}
