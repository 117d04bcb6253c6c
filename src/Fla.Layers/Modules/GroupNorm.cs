using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>A layer norm of each of several groups of channels, with a weight and a bias for every channel (Wu and He 2018).</summary>
public sealed class GroupNorm : Module
{
    /// <summary>A norm.</summary>
    /// <param name="device">Where.</param>
    /// <param name="groups">Number of groups.</param>
    /// <param name="width">Size of the last axis, a multiple of the groups.</param>
    /// <param name="eps">Added to the variance.</param>
    /// <param name="isAffine">Whether there are weight and bias.</param>
    /// <param name="weightRule">What a fresh weight is filled with; ones when null.</param>
    /// <param name="dtype">Float type of the parameters.</param>
    public GroupNorm(ComputeDevice device, int groups, int width, double eps = 1e-5, bool isAffine = true, WeightRule? weightRule = null, DType dtype = DType.Float32)
        : base(device, dtype)
    {
        Groups = groups;
        Eps = (float)eps;
        if (!isAffine) return;
        Weight = AddParameter("weight", weightRule ?? WeightRules.One, width);
        Bias = AddParameter("bias", WeightRules.Zero, width);
    }

    /// <summary>Number of groups.</summary>
    public int Groups { get; }

    /// <summary>Added to the variance.</summary>
    public float Eps { get; }

    /// <summary>w [width], or null.</summary>
    public Tensor? Weight { get; }

    /// <summary>b [width], or null.</summary>
    public Tensor? Bias { get; }

    /// <summary>Normalises.</summary>
    /// <param name="x">[..., width].</param>
    /// <returns>[..., width].</returns>
    public Tensor Forward(Tensor x) => Norms.GroupNorm(x, Groups, Weight, Bias, eps: Eps);
}
