using Fla.Layers;
using Fla.Vulkan;
using TorchSharp;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch;

/// <summary>An attention mask as layers are given it: [B, S], zero at padding.</summary>
internal sealed record MaskValues(bool[] Valid, int Rows, int Columns)
{
    /// <summary>Reads a mask of any type; null for null.</summary>
    /// <exception cref="ShapeException">Not two axes.</exception>
    public static MaskValues? Of(Tensor? mask)
    {
        if (mask is null) return null;
        if (mask.ndim != 2) throw new ShapeException($"an attention mask has two axes, not the shape [{string.Join(", ", mask.shape)}]");
        using var grad = torch.no_grad();
        using var isToken = mask.ne(0);
        using var dense = isToken.contiguous();
        return new(dense.data<bool>().ToArray(), checked((int)mask.shape[0]), checked((int)mask.shape[1]));
    }

    /// <summary>The mask on a device, for one call.</summary>
    public PaddingMask On(ComputeDevice device, TorchCall call) => call.Own(new PaddingMask(device, Rows, Columns, Valid));
}
