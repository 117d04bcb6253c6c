namespace Fla.Vulkan.Ops;

/// <summary>
/// Boundaries of sequences packed into one row of tokens: sequence n is tokens [cu[n], cu[n+1]). Holds them on the device, with the list of
/// chunks for every chunk length that was asked for; its device memory keeps its size and place when <see cref="Set"/> changes the boundaries, so a
/// captured graph can be replayed with others.
/// </summary>
public sealed class CuSeqlens : IDisposable
{
    private readonly Dictionary<int, Tensor> _tables = [];
    private readonly Dictionary<int, CuSeqlens> _stretched = [];
    private readonly Lock _gate = new();
    private int[] _boundaries;

    /// <summary>Checks the boundaries and uploads them.</summary>
    /// <param name="device">Where the tokens are.</param>
    /// <param name="boundaries">N + 1 numbers: 0, then the end of each sequence. Empty sequences are allowed.</param>
    /// <exception cref="ShapeException">The boundaries do not rise from 0.</exception>
    public CuSeqlens(ComputeDevice device, params ReadOnlySpan<int> boundaries)
    {
        Check(boundaries);
        Device = device;
        _boundaries = boundaries.ToArray();
        Starts = Tensor.FromInt32(device, boundaries, boundaries.Length).Own();
    }

    /// <summary>Where the tokens are.</summary>
    public ComputeDevice Device { get; }

    /// <summary>Number of sequences, N.</summary>
    public int Count => _boundaries.Length - 1;

    /// <summary>Number of tokens of all sequences, T.</summary>
    public int Length => _boundaries[^1];

    /// <summary>0, then the end of each sequence [N + 1].</summary>
    public ReadOnlySpan<int> Boundaries => _boundaries;

    /// <summary>Tokens of the longest sequence.</summary>
    internal int Longest => Enumerable.Range(0, Count).Max(n => _boundaries[n + 1] - _boundaries[n]);

    /// <summary>The boundaries on the device: i32 [N + 1].</summary>
    public Tensor Starts { get; }

    /// <summary>Changes the boundaries, in stream order, to others of as many sequences and tokens.</summary>
    /// <exception cref="ShapeException">Not as many sequences or tokens, or boundaries that do not rise from 0.</exception>
    public void Set(params ReadOnlySpan<int> boundaries)
    {
        Check(boundaries);
        Require.That(boundaries.Length == _boundaries.Length && boundaries[^1] == Length,
            $"cuSeqlens has {Count} sequences of {Length} tokens in all and cannot be set to {boundaries.Length - 1} of {boundaries[^1]}");
        lock (_gate)
        {
            _boundaries = boundaries.ToArray();
            Starts.Write(boundaries);
            foreach (var (chunk, table) in _tables) table.Write(Layout(chunk));
            foreach (var (times, stretched) in _stretched) stretched.Set(Times(times));
        }
    }

    /// <summary>Gives the device memory back.</summary>
    public void Dispose()
    {
        Starts.Dispose();
        foreach (var table in _tables.Values) table.Dispose();
        _tables.Clear();
        foreach (var stretched in _stretched.Values) stretched.Dispose();
        _stretched.Clear();
    }

    /// <summary>The boundaries of sequences that have <paramref name="times"/> rows a token; changes with these, and is disposed with them.</summary>
    internal CuSeqlens Stretched(int times)
    {
        lock (_gate)
        {
            if (times == 1) return this;
            if (!_stretched.TryGetValue(times, out var stretched)) _stretched.Add(times, stretched = new(Device, Times(times)));
            return stretched;
        }
    }

    /// <summary>Chunks of <paramref name="chunk"/> tokens that these sequences have.</summary>
    internal int ChunkCount(int chunk) => Enumerable.Range(0, Count).Sum(n => (_boundaries[n + 1] - _boundaries[n] + chunk - 1) / chunk);

    /// <summary>Chunks of <paramref name="chunk"/> tokens that any boundaries of this many sequences and tokens can have.</summary>
    internal int ChunkCapacity(int chunk) => Length / chunk + Count;

    /// <summary>What shaders/linear/sequences.glsl calls packed: boundaries [N+1], chunk offsets [N+1], (sequence, chunk) pairs [capacity].</summary>
    internal Tensor Table(int chunk)
    {
        lock (_gate)
        {
            if (!_tables.TryGetValue(chunk, out var table))
            {
                var layout = Layout(chunk);
                _tables.Add(chunk, table = Device.Stream.OutsideCapture(() => Tensor.FromInt32(Device, layout, layout.Length).Own()));
            }
            return table;
        }
    }

    private int[] Times(int times) => Array.ConvertAll(_boundaries, x => checked(x * times));

    private int[] Layout(int chunk)
    {
        var layout = new int[2 * (Count + 1) + 2 * ChunkCapacity(chunk)];
        _boundaries.CopyTo(layout, 0);
        var pairs = layout.AsSpan(2 * (Count + 1));
        pairs.Fill(-1);
        var next = 0;
        for (var n = 0; n < Count; n++)
        {
            layout[Count + 1 + n] = next;
            var chunks = (_boundaries[n + 1] - _boundaries[n] + chunk - 1) / chunk;
            for (var i = 0; i < chunks; i++, next++) (pairs[2 * next], pairs[2 * next + 1]) = (n, i);
        }
        layout[2 * Count + 1] = next;
        return layout;
    }

    private static void Check(ReadOnlySpan<int> boundaries)
    {
        Require.That(boundaries.Length >= 2, "cuSeqlens needs at least two boundaries");
        Require.That(boundaries[0] == 0, $"cuSeqlens starts at 0, not at {boundaries[0]}");
        for (var i = 1; i < boundaries.Length; i++)
        {
            Require.That(boundaries[i] >= boundaries[i - 1], $"cuSeqlens does not decrease: {boundaries[i]} follows {boundaries[i - 1]}");
        }
    }
}
