using Fla.Layers;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Models;

/// <summary>What a forward pass is told besides the tokens.</summary>
public sealed record ForwardOptions
{
    /// <summary>Labels, i32 or i64 [B, T], usually the tokens themselves: logits at t are asked for the label at t + 1; −100 is ignored. Null for no loss.</summary>
    public Tensor? Labels { get; init; }

    /// <summary>What the loss is made of; null for plain cross entropy.</summary>
    public LossOptions? Loss { get; init; }

    /// <summary>Which positions are padding; counts the cached tokens too.</summary>
    public PaddingMask? Mask { get; init; }

    /// <summary>Boundaries of sequences packed into one row.</summary>
    public CuSeqlens? CuSeqlens { get; init; }

    /// <summary>Memory of earlier tokens, read and updated. Not with gradient checkpointing.</summary>
    public ModelCache? Cache { get; init; }

    /// <summary>Logits of only so many last positions; 0 for all.</summary>
    public int LogitsToKeep { get; init; }

    /// <summary>Whether to return the states between blocks.</summary>
    public bool OutputHiddenStates { get; init; }

    /// <summary>Form of the recurrences for inputs of more than one token; null lets each layer choose.</summary>
    public AttnMode? Mode { get; init; }

    /// <summary>Position of the first token of each sequence, i32 [N], for a captured decoding step; null derives it from cache and mask.</summary>
    public Tensor? Offsets { get; init; }
}
