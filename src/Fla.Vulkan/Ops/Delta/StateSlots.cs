namespace Fla.Vulkan.Ops;

/// <summary>
/// Which slots of a pool of states the sequences of a call own: one a sequence, or one a sequence and token, so that a later call can go on from the state after any
/// token of this one (speculative decoding). The device memory keeps its place when <see cref="Set"/> changes the slots, so a captured graph can be replayed with
/// others.
/// </summary>
/// <remarks>
/// A sequence starts from the slot of its first token, or with accepted tokens, of the last one of the call before that was accepted. Where it has one slot a token,
/// the state after each token goes to that token's slot; where it has one in all, the state after the last token does. −1 is no slot: a sequence that starts there
/// has a zero state, and a state that would go there is dropped.
/// </remarks>
public sealed class StateSlots : IDisposable
{
    /// <summary>Where a sequence starts, then its slots: what the kernel reads [N, 1 + slots a sequence].</summary>
    private readonly Tensor _table;

    /// <summary>Checks the slots and uploads them.</summary>
    /// <param name="device">Where the pool is.</param>
    /// <param name="capacity">Slots of the pool.</param>
    /// <param name="sequences">N.</param>
    /// <param name="ssmStateIndices">Slots of the sequences, row-major [N] or [N, tokens]; −1 for none. No slot stands in two sequences.</param>
    /// <param name="numAcceptedTokens">Tokens of the last call that count [N], at least 1; the first alone when empty.</param>
    /// <exception cref="ShapeException">Not as many slots or accepted tokens as there are sequences.</exception>
    /// <exception cref="IndexException">A slot that the pool does not have, one that two sequences own, or more accepted tokens than slots.</exception>
    public StateSlots(ComputeDevice device, int capacity, int sequences, ReadOnlySpan<int> ssmStateIndices, ReadOnlySpan<int> numAcceptedTokens = default)
    {
        ArgumentNullException.ThrowIfNull(device);
        Require.That(capacity > 0, $"a pool has at least one slot, not {capacity}");
        Require.That(sequences > 0 && ssmStateIndices.Length > 0 && ssmStateIndices.Length % sequences == 0,
            $"ssmStateIndices needs as many slots for each of {sequences} sequences, it has {ssmStateIndices.Length}");
        (Device, Capacity, Count, PerSequence) = (device, capacity, sequences, ssmStateIndices.Length / sequences);
        var table = Check(ssmStateIndices, numAcceptedTokens);
        _table = device.Stream.OutsideCapture(() => Tensor.FromInt32(device, table, Count, 1 + PerSequence).Own());
    }

    /// <summary>Where the pool is.</summary>
    public ComputeDevice Device { get; }

    /// <summary>Slots of the pool.</summary>
    public int Capacity { get; }

    /// <summary>Number of sequences, N.</summary>
    public int Count { get; }

    /// <summary>Slots that a sequence has: 1, or as many as it may have tokens.</summary>
    public int PerSequence { get; }

    internal Tensor Table => _table;

    /// <summary>Changes the slots, in stream order, to others of as many sequences.</summary>
    /// <param name="ssmStateIndices">As the constructor's.</param>
    /// <param name="numAcceptedTokens">As the constructor's.</param>
    /// <exception cref="ShapeException">Not as many slots or accepted tokens as before.</exception>
    /// <exception cref="IndexException">A slot that the pool does not have, one that two sequences own, or more accepted tokens than slots.</exception>
    public void Set(ReadOnlySpan<int> ssmStateIndices, ReadOnlySpan<int> numAcceptedTokens = default) => _table.Write(Check(ssmStateIndices, numAcceptedTokens));

    /// <summary>Gives the device memory back.</summary>
    public void Dispose() => _table.Dispose();

    private int[] Check(ReadOnlySpan<int> slots, ReadOnlySpan<int> accepted)
    {
        Require.That(slots.Length == Count * PerSequence, $"ssmStateIndices needs {PerSequence} slots for each of {Count} sequences, it has {slots.Length}");
        Require.That(accepted.IsEmpty || accepted.Length == Count, $"numAcceptedTokens needs a number for each of {Count} sequences, it has {accepted.Length}");
        var table = new int[Count * (1 + PerSequence)];
        var owners = new Dictionary<int, int>();
        for (var n = 0; n < Count; n++)
        {
            var own = slots.Slice(n * PerSequence, PerSequence);
            foreach (var slot in own)
            {
                if (slot < -1 || slot >= Capacity) throw new IndexException($"ssmStateIndices of sequence {n}: the pool has no slot {slot}, only 0 to {Capacity - 1}");
                if (slot >= 0 && !owners.TryAdd(slot, n) && owners[slot] != n) throw new IndexException($"slot {slot} stands in the sequences {owners[slot]} and {n}");
            }
            var count = accepted.IsEmpty ? 1 : accepted[n];
            if (count < 1 || count > PerSequence) throw new IndexException($"numAcceptedTokens of sequence {n} is {count}: it has slots for 1 to {PerSequence}");
            var row = table.AsSpan(n * (1 + PerSequence));
            row[0] = own[count - 1];
            own.CopyTo(row[1..]);
        }
        return table;
    }
}
