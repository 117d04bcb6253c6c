using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>What a token mixer is told besides its input.</summary>
public sealed record MixerContext
{
    /// <summary>Nothing: a plain batch from its first token.</summary>
    public static MixerContext Empty { get; } = new();

    /// <summary>Form of the recurrence for inputs of more than one token; null lets the layer choose: recurrent up to 64 tokens, else its own mode.
    /// A form that the layer's operator does not have is taken for chunk.</summary>
    public AttnMode? Mode { get; init; }

    /// <summary>Boundaries of sequences packed into one row; wins over the mask.</summary>
    public CuSeqlens? CuSeqlens { get; init; }

    /// <summary>Which positions are padding.</summary>
    public PaddingMask? Mask { get; init; }

    /// <summary>The layer's memory of earlier tokens, read and updated; null for none. Gradients do not flow through it.</summary>
    public LayerCache? Cache { get; init; }

    /// <summary>
    /// Position of the first token of each sequence, i32 [N]; null derives it from the cache and the mask. A captured decoding step reads it from here.
    /// </summary>
    public Tensor? Offsets { get; init; }

    /// <summary>The padding among the last positions, or null when all of them hold tokens.</summary>
    /// <param name="length">How many.</param>
    /// <exception cref="ShapeException">The mask has not so many columns.</exception>
    internal PaddingWindow? Padding(int length) => CuSeqlens is null ? Mask?.Window(length) : null;
}
