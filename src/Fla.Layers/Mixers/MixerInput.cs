using System.Diagnostics.CodeAnalysis;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>One call of a token mixer, with all choices made.</summary>
/// <param name="Raw">[B, T, D], or [1, ΣT, D] after padding was dropped; before <see cref="Norm"/>.</param>
/// <param name="Length">T, padding included.</param>
/// <param name="Mode">Form of the recurrence.</param>
/// <param name="CuSeqlens">Boundaries when X is packed.</param>
/// <param name="Padding">Padded positions that are still in X, or null.</param>
/// <param name="Context">What the caller said.</param>
public sealed record MixerInput(Tensor Raw, int Length, AttnMode Mode, CuSeqlens? CuSeqlens, PaddingWindow? Padding, MixerContext Context)
{
    private Tensor? _normed;

    /// <summary>What the layer mixes.</summary>
    public Tensor X => Norm is null ? Raw : _normed ??= Norm.Forward(Raw);

    /// <summary>A norm that the input has yet to pass, or null: in a decoding step products apply it themselves.</summary>
    public Norm? Norm { get; init; }

    /// <summary>Whether the input is to be added to the layer's result.</summary>
    public bool IsResidual { get; init; }

    /// <summary>Whether it has been.</summary>
    public bool IsAdded { get; private set; }

    /// <summary>Padding that was dropped from X, or null.</summary>
    public PaddingWindow? Dropped { get; init; }

    /// <summary>Number of sequences, N.</summary>
    public int Sequences => CuSeqlens?.Count ?? Raw.Size(0);

    /// <summary>The layer's memory, or null.</summary>
    public LayerCache? Cache => Context.Cache;

    /// <summary>A linear map of X; null without one.</summary>
    [return: NotNullIfNotNull(nameof(linear))]
    public Tensor? Project(Linear? linear) =>
        linear is null ? null
        : Norm?.InProduct is { } norm && DecodeProducts.Takes(Raw, norm) ? DecodeProducts.Linear(Raw, linear.Weight, linear.Bias, norm) : linear.Forward(X);

    /// <summary>The last linear map of a layer, after a gated norm of heads: with the layer's input added, if that is wanted and can be done on the way.</summary>
    /// <param name="linear">The map.</param>
    /// <param name="norm">The norm before it.</param>
    /// <param name="o">[B, T, H, V].</param>
    /// <param name="gate">[B, T, H·V] before its activation.</param>
    /// <returns>[B, T, D].</returns>
    public Tensor Finish(Linear linear, FusedRmsNormGated norm, Tensor o, Tensor gate)
    {
        ArgumentNullException.ThrowIfNull(linear);
        ArgumentNullException.ThrowIfNull(norm);
        ArgumentNullException.ThrowIfNull(o);
        ArgumentNullException.ThrowIfNull(gate);
        var flat = o.View(o.Size(0), o.Size(1), -1);
        if (IsResidual && norm.InProduct(gate) is var inProduct && DecodeProducts.Takes(flat, inProduct))
        {
            IsAdded = true;
            return DecodeProducts.Linear(flat, linear.Weight, linear.Bias, inProduct, Raw);
        }
        return Finish(linear, norm.Forward(o, gate.View(o.Shape)).View(flat.Shape));
    }

    /// <summary>The last linear map of a layer: with the layer's input added, if that is wanted.</summary>
    /// <param name="linear">The map.</param>
    /// <param name="y">[B, T, ...].</param>
    /// <returns>[B, T, D].</returns>
    public Tensor Finish(Linear linear, Tensor y)
    {
        ArgumentNullException.ThrowIfNull(linear);
        if (!IsResidual || !DecodeProducts.Takes(y)) return linear.Forward(y);
        IsAdded = true;
        return DecodeProducts.Linear(y, linear.Weight, linear.Bias, other: Raw);
    }

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
