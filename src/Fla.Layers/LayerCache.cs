using Fla.Vulkan;

namespace Fla.Layers;

/// <summary>
/// What one token mixer remembers of the tokens it has seen. Its tensors keep their place from one call to the next, so that a captured step can be
/// replayed.
/// </summary>
public sealed class LayerCache : IDisposable
{
    private readonly Dictionary<string, Tensor> _slots = [];

    /// <summary>Slot of the matrix-valued memory.</summary>
    public const string RecurrentState = "recurrent_state";

    /// <summary>Number of tokens seen, padding included.</summary>
    public int SeenTokens { get; private set; }

    /// <summary>Bytes of all states.</summary>
    public long ByteCount => _slots.Values.Sum(t => t.ByteCount);

    /// <summary>The tensor in a slot, null before the first call.</summary>
    public Tensor? Get(string slot) => _slots.GetValueOrDefault(slot);

    /// <summary>Puts a tensor into a slot: copied into the one that is there, if any. Without a history on the tape.</summary>
    /// <exception cref="ShapeException">The slot holds a tensor of another shape: another batch size.</exception>
    public void Set(string slot, Tensor value)
    {
        ArgumentNullException.ThrowIfNull(value);
        if (!_slots.TryGetValue(slot, out var held)) _slots.Add(slot, value.Detach().Own());
        else if (!held.Shape.SequenceEqual(value.Shape)) throw new ShapeException($"the cache holds {slot} {held.Describe()}, which {value.Describe()} cannot replace");
        else if (held.Address != value.Address) held.CopyFrom(value);
    }

    /// <summary>Counts tokens as seen: a mixer does so after its states.</summary>
    public void Advance(int tokens) => SeenTokens += tokens;

    /// <summary>Forgets everything and gives the memory back.</summary>
    public void Clear()
    {
        foreach (var tensor in _slots.Values) tensor.Dispose();
        _slots.Clear();
        SeenTokens = 0;
    }

    /// <inheritdoc/>
    public void Dispose() => Clear();
}
