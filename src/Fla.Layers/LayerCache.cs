using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>
/// What one token mixer remembers of the tokens it has seen. Its tensors keep their place from one call to the next, so that a captured step can be
/// replayed.
/// </summary>
public sealed class LayerCache : IDisposable
{
    private readonly Dictionary<string, Tensor> _slots = [];

    /// <summary>Slots that grow with the tokens seen, and the capacity at which they stop.</summary>
    private readonly Dictionary<string, int> _growing = [];

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

    /// <summary>Puts a tensor [N, capacity, ...] into an empty slot that has to hold all tokens seen, and so grows (<see cref="Reserve"/>).</summary>
    /// <param name="slot">The slot.</param>
    /// <param name="value">What holds the tokens seen so far.</param>
    /// <param name="limit">The capacity that holds any number of tokens.</param>
    public void SetGrowing(string slot, Tensor value, int limit)
    {
        Set(slot, value);
        _growing.Add(slot, limit);
    }

    /// <summary>Whether what grows can take so many more tokens where it is.</summary>
    public bool HasRoom(int tokens) => _growing.All(entry => _slots[entry.Key].Size(1) >= Math.Min(entry.Value, SeenTokens + (long)tokens));

    /// <summary>Makes room for more tokens. What grows may move: a graph captured before reads it where it was.</summary>
    public void Reserve(int tokens)
    {
        if (HasRoom(tokens)) return;
        using var noGrad = Autograd.NoGrad();
        foreach (var (slot, limit) in _growing)
        {
            var held = _slots[slot];
            var capacity = (int)Math.Min(limit, Math.Max(2L * held.Size(1), SeenTokens + (long)tokens));
            using var more = Tensor.Zeros(held.Device, held.DType, [held.Size(0), capacity - held.Size(1), .. held.Shape[2..]]);
            _slots[slot] = Layouts.Concat(1, held, more).Own();
            held.Dispose();
        }
    }

    /// <summary>Counts tokens as seen: a mixer does so after its states.</summary>
    public void Advance(int tokens) => SeenTokens += tokens;

    /// <summary>Forgets everything and gives the memory back.</summary>
    public void Clear()
    {
        foreach (var tensor in _slots.Values) tensor.Dispose();
        _slots.Clear();
        _growing.Clear();
        SeenTokens = 0;
    }

    /// <inheritdoc/>
    public void Dispose() => Clear();
}
