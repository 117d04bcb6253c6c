using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>A norm over the last axis, in fp32 inside.</summary>
/// <param name="device">Where.</param>
/// <param name="dtype">Float type of the parameters.</param>
public abstract class Norm(ComputeDevice device, DType dtype) : Module(device, dtype)
{
    /// <summary>Normalises.</summary>
    /// <param name="x">[..., width].</param>
    /// <returns>[..., width].</returns>
    public abstract Tensor Forward(Tensor x);

    /// <summary>Adds a residual, in fp32, and normalises the sum.</summary>
    /// <param name="x">[..., width].</param>
    /// <param name="residual">[..., width].</param>
    /// <returns>The normed sum, and the sum in the residual's type.</returns>
    public abstract (Tensor Y, Tensor Residual) Forward(Tensor x, Tensor residual);

    /// <summary>The norm as a product of a decoding step can apply it to its input; null for one that it cannot.</summary>
    public virtual RowNorm? InProduct => null;
}
