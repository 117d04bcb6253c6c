using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>
/// Rotary positions (Su et al., "RoFormer", 2021) on whole heads, half-split: channels i and i + K/2 turn by position · base^(−2i/K). Nothing of it
/// is in a checkpoint.
/// </summary>
public sealed class RotaryEmbedding : Module
{
    private readonly float _base;

    /// <summary>Rotary positions.</summary>
    /// <param name="device">Where.</param>
    /// <param name="width">Width of a head, K, at most 256.</param>
    /// <param name="base">Base of the angles.</param>
    public RotaryEmbedding(ComputeDevice device, int width, double @base = 10000)
        : base(device, DType.Float32)
    {
        Width = width;
        _base = (float)@base;
    }

    /// <summary>Width of a head.</summary>
    public int Width { get; }

    /// <summary>Rotates heads to their positions: those of the context's offsets, else of the tokens in its cache that are no padding.</summary>
    /// <param name="x">[B, T, H, K].</param>
    /// <param name="input">The mixer's call.</param>
    /// <returns>Of x's shape.</returns>
    public Tensor Forward(Tensor x, MixerInput input)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(input);
        if (input.Context.Offsets is { } given) return Rotary.Apply(x, _base, offsets: given, cuSeqlens: input.CuSeqlens);
        var seen = input.Cache?.SeenTokens ?? 0;
        if (seen == 0 || input.Context.Mask is not { } mask || input.Context.CuSeqlens != null) return Rotary.Apply(x, _base, seen, cuSeqlens: input.CuSeqlens);
        var length = input.Length;
        var offsets = Enumerable.Range(0, mask.Rows).Select(row => mask.Length(row) - length).ToArray();
        using var onDevice = Tensor.FromInt32(Device, offsets, offsets.Length);
        return Rotary.Apply(x, _base, offsets: onDevice, cuSeqlens: input.CuSeqlens);
    }
}
