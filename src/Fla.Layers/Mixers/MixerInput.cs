using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>One call of a token mixer, with all choices made.</summary>
/// <param name="X">[B, T, D], or [1, ΣT, D] after padding was dropped.</param>
/// <param name="Length">T, padding included.</param>
/// <param name="Mode">Form of the recurrence.</param>
/// <param name="CuSeqlens">Boundaries when X is packed.</param>
/// <param name="Padding">Padded positions that are still in X, or null.</param>
/// <param name="Context">What the caller said.</param>
public sealed record MixerInput(Tensor X, int Length, AttnMode Mode, CuSeqlens? CuSeqlens, PaddingWindow? Padding, MixerContext Context)
{
    /// <summary>Padding that was dropped from X, or null.</summary>
    public PaddingWindow? Dropped { get; init; }

    /// <summary>Number of sequences, N.</summary>
    public int Sequences => CuSeqlens?.Count ?? X.Size(0);

    /// <summary>The layer's memory, or null.</summary>
    public LayerCache? Cache => Context.Cache;

    /// <summary>A state from the cache, null without one.</summary>
    /// <exception cref="ShapeException">The cache is of another number of sequences.</exception>
    public Tensor? State(string slot)
    {
        var state = Cache?.Get(slot);
        if (state != null && state.Size(0) != Sequences)
        {
            throw new ShapeException($"the cache holds {state.Size(0)} sequences, the input has {Sequences}");
        }
        return state;
    }

    /// <summary>The state to be overwritten by an operation that can: the one in the cache, where no gradients are recorded.</summary>
    public Tensor? StateInPlace(string slot) => Autograd.IsEnabled ? null : State(slot);

    /// <summary>Puts a state into the cache, if there are both.</summary>
    public void Store(string slot, Tensor? state)
    {
        if (state != null) Cache?.Set(slot, state);
    }
}
