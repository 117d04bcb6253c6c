using Fla.Models.Training;

namespace Fla.Models.Data;

/// <summary>
/// Documents packed into rows of a fixed number of tokens. Documents longer than T are cut into sequences of T, from a fresh offset in every pass over
/// the text (epoch); the sequences of an epoch stand in random order; their tokens, epoch after epoch, are one endless stream, and sample number i is
/// tokens [i · L, (i + 1) · L) of it. What is in it so follows from seed and number alone, and a run is resumed at the exact sample by its number.
/// A sequence that a row's end cuts goes on in the next row, without a memory. In memory are 16 bytes for each sequence of an epoch; tokens are read from
/// the disk when they are wanted. Not for several threads at once.
/// </summary>
public sealed class PackedDataset
{
    private const double Deviations = 6;

    private readonly TokenCorpus _corpus;
    private readonly TokenSpans _spans;
    private readonly ulong _seed;
    private long _epoch = -1;
    private List<(long Start, int Length)> _sequences = [];
    private int[] _order = [];
    private int _next;
    private int _done;
    private long _sample = -1;

    /// <summary>A dataset.</summary>
    /// <param name="corpus">Where the tokens are.</param>
    /// <param name="spans">The documents in it.</param>
    /// <param name="length">T, the longest sequence.</param>
    /// <param name="rowLength">L, tokens in a sample.</param>
    /// <param name="seed">The order.</param>
    /// <exception cref="DatasetException">There is no document of two tokens.</exception>
    public PackedDataset(TokenCorpus corpus, TokenSpans spans, int length, int rowLength, long seed)
    {
        ArgumentNullException.ThrowIfNull(corpus);
        ArgumentNullException.ThrowIfNull(spans);
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 2);
        ArgumentOutOfRangeException.ThrowIfLessThan(rowLength, 2);
        (_corpus, _spans, _seed) = (corpus, spans, (ulong)seed);
        (Length, RowLength) = (length, rowLength);
        if (!Enumerable.Range(0, spans.Count).Any(i => spans[i].Length > 1)) throw new DatasetException("there is no text of even two tokens to learn");
        Begin(0);
        MaxSequences = RoomFor(_sequences);
    }

    /// <summary>T, the longest sequence.</summary>
    public int Length { get; }

    /// <summary>L, tokens in a sample.</summary>
    public int RowLength { get; }

    /// <summary>Tokens of one pass over the text.</summary>
    public long TokensPerEpoch => _spans.Tokens;

    /// <summary>
    /// Sequences that a row has room for: as many as are in one on average, and six standard deviations more. Should a row ever hold more, what it has no
    /// room for is not learnt from in that epoch (<see cref="PackedBatch.Ignored"/>).
    /// </summary>
    public int MaxSequences { get; }

    /// <summary>Sample number <paramref name="index"/>.</summary>
    public PackedBatch Sample(long index)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        if (index != _sample) Seek(index);
        _sample = -1;
        var tokens = new int[RowLength];
        var boundaries = new int[MaxSequences + 1];
        boundaries.AsSpan().Fill(RowLength);
        boundaries[0] = 0;
        var (filled, sequences, ignored) = (0, 0, 0);
        while (filled < RowLength)
        {
            var (start, length) = Current();
            var taken = Math.Min(length - _done, RowLength - filled);
            if (sequences == MaxSequences - 1 && filled + taken < RowLength)
            {
                ignored = RowLength - filled;
                Skip(ignored);
                break;
            }
            _corpus.Read(start + _done, tokens.AsSpan(filled, taken));
            filled += taken;
            boundaries[++sequences] = filled;
            Skip(taken);
        }
        _sample = index + 1;
        return new(tokens, boundaries, ignored);
    }

    private void Seek(long sample)
    {
        var position = (Int128)sample * RowLength;
        Begin((long)(position / TokensPerEpoch));
        Skip((long)(position % TokensPerEpoch));
    }

    /// <summary>The sequence under way; begins the next epoch when there is none.</summary>
    private (long Start, int Length) Current()
    {
        if (_next == _order.Length) Begin(_epoch + 1);
        return _sequences[_order[_next]];
    }

    private void Skip(long tokens)
    {
        while (tokens > 0)
        {
            var left = Current().Length - _done;
            if (tokens < left)
            {
                _done += (int)tokens;
                return;
            }
            tokens -= left;
            (_next, _done) = (_next + 1, 0);
        }
    }

    private void Begin(long epoch)
    {
        (_next, _done) = (0, 0);
        if (epoch == _epoch) return;
        _epoch = epoch;
        var random = SplitMix.Of(_seed, (ulong)epoch);
        _sequences = new(_sequences.Count);
        for (var i = 0; i < _spans.Count; i++)
        {
            var (start, length) = _spans[i];
            long at = 0;
            // Where a document is cut moves from epoch to epoch, so that every token comes to have a context.
            if (length > Length && random.Below(Length) is var offset and > 0) Add(offset);
            while (at < length) Add((int)Math.Min(Length, length - at));

            void Add(int count)
            {
                _sequences.Add((start + at, count));
                at += count;
            }
        }
        _order = random.Permutation(_sequences.Count);
    }

    /// <summary>Sequences of independent lengths fill a row as a renewal process does: L / mean of them, with variance L · variance / mean³.</summary>
    private int RoomFor(List<(long Start, int Length)> sequences)
    {
        var mean = (double)TokensPerEpoch / sequences.Count;
        var variance = sequences.Sum(s => (s.Length - mean) * (s.Length - mean)) / sequences.Count;
        var usual = RowLength / mean + Deviations * Math.Sqrt(RowLength * variance / (mean * mean * mean));
        // Two that the row's ends cut, and short ones at the offsets of a small text's epochs.
        return (int)Math.Clamp(Math.Ceiling(usual) + 2 + RowLength / TokensPerEpoch, 2, RowLength);
    }
}
