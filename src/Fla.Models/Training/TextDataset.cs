namespace Fla.Models.Training;

/// <summary>
/// Windows of T tokens cut from one long text. Which window is sample number i is a pure function of the seed and i, so that a run is resumed at the
/// exact sample by its number alone. Every pass over the text (epoch) visits each window once, in a fresh order and from a fresh offset.
/// </summary>
public sealed class TextDataset
{
    private readonly int[] _tokens;
    private readonly ulong _seed;
    private readonly int _offsets;
    private long _epoch = -1;
    private int _offset;
    private int[] _order = [];

    /// <summary>A dataset over token ids.</summary>
    /// <param name="tokens">The text.</param>
    /// <param name="length">T, tokens in a window.</param>
    /// <param name="seed">Order of the windows.</param>
    /// <exception cref="TrainingException">There is not even one window, or a window has fewer than two tokens.</exception>
    public TextDataset(ReadOnlySpan<int> tokens, int length, long seed = 0)
    {
        if (length < 2) throw new TrainingException($"windows of {length} tokens have nothing to predict: 2 is the least");
        if (tokens.Length < length) throw new TrainingException($"the text has {tokens.Length} tokens, not even one window of {length}");
        _tokens = tokens.ToArray();
        _seed = (ulong)seed;
        Length = length;
        _offsets = tokens.Length < 2 * length ? tokens.Length - length + 1 : length;
        WindowsPerEpoch = Math.Max(1, tokens.Length / length - 1);
    }

    /// <summary>T, tokens in a window.</summary>
    public int Length { get; }

    /// <summary>Tokens in the text.</summary>
    public int TokenCount => _tokens.Length;

    /// <summary>Windows in one pass over the text.</summary>
    public int WindowsPerEpoch { get; }

    /// <summary>Splits a text into one for training and one held out, made of whole blocks from all over it.</summary>
    /// <param name="tokens">The text.</param>
    /// <param name="blockLength">Tokens in a block; several windows long, so that little context is lost where blocks were taken out.</param>
    /// <param name="fraction">Share of the blocks to hold out, above 0 and below 1; at least one is.</param>
    /// <param name="seed">Which blocks.</param>
    /// <exception cref="TrainingException">The text has fewer than two blocks.</exception>
    public static (int[] Train, int[] HeldOut) Split(ReadOnlySpan<int> tokens, int blockLength, double fraction, long seed = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(blockLength);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(fraction, 0);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(fraction, 1);
        var blocks = tokens.Length / blockLength;
        if (blocks < 2) throw new TrainingException($"the text has {tokens.Length} tokens; to hold some out, 2 blocks of {blockLength} are the least");
        var count = Math.Clamp((int)Math.Round(blocks * fraction), 1, blocks - 1);
        var isHeldOut = new bool[blocks];
        foreach (var block in SplitMix.Of((ulong)seed, ulong.MaxValue).Permutation(blocks).AsSpan(0, count)) isHeldOut[block] = true;
        var train = new List<int>(tokens.Length);
        var heldOut = new List<int>(count * blockLength);
        for (var block = 0; block < blocks; block++)
        {
            var end = block == blocks - 1 && !isHeldOut[block] ? tokens.Length : (block + 1) * blockLength;
            (isHeldOut[block] ? heldOut : train).AddRange(tokens[(block * blockLength)..end]);
        }
        return ([.. train], [.. heldOut]);
    }

    /// <summary>The tokens of sample number <paramref name="index"/>, T of them.</summary>
    public ReadOnlySpan<int> Sample(long index)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        var epoch = index / WindowsPerEpoch;
        if (epoch != _epoch)
        {
            var random = SplitMix.Of(_seed, (ulong)epoch);
            _offset = random.Below(_offsets);
            _order = random.Permutation(WindowsPerEpoch);
            _epoch = epoch;
        }
        var start = _offset + _order[index % WindowsPerEpoch] * Length;
        return _tokens.AsSpan(start, Length);
    }

    /// <summary>Fills a batch with samples <paramref name="first"/>, <paramref name="first"/> + 1, …</summary>
    /// <param name="first">Number of the first sample.</param>
    /// <param name="batch">Room for B · T tokens, [B, T] row-major.</param>
    /// <exception cref="TrainingException">The room is no multiple of T.</exception>
    public void Fill(long first, Span<int> batch)
    {
        if (batch.Length % Length != 0) throw new TrainingException($"room for {batch.Length} tokens is no multiple of the window, {Length}");
        for (var row = 0; row * Length < batch.Length; row++) Sample(first + row).CopyTo(batch[(row * Length)..]);
    }

    /// <summary>Windows that do not overlap, in order: what a held-out loss is taken over.</summary>
    /// <param name="count">At most so many; fewer than there are come from all over the text.</param>
    public IEnumerable<ReadOnlyMemory<int>> InOrder(int count = int.MaxValue)
    {
        var all = _tokens.Length / Length;
        var taken = Math.Min(count, all);
        for (var i = 0; i < taken; i++) yield return _tokens.AsMemory((int)((long)i * all / taken) * Length, Length);
    }
}
