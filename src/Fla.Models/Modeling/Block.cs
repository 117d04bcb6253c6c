using Fla.Layers;
using Fla.Vulkan;

namespace Fla.Models;

/// <summary>One block of the trunk.</summary>
internal abstract class Block(ComputeDevice device, DType dtype) : Module(device, dtype)
{
    /// <summary>Whether packed sequences stay apart.</summary>
    public abstract bool UsesCuSeqlens { get; }

    /// <summary>
    /// Takes the residual stream [B, T, D], and after it whatever the blocks below pass along for those above, and returns the same for the next block. What
    /// is made in between lives on only on the tape.
    /// </summary>
    public abstract Tensor[] Forward(Tensor[] streams, MixerContext context);
}
