using Fla.Models.Training;

namespace Fla.Models.Data;

/// <summary>
/// Documents packed into rows of a fixed number of tokens. In every pass over the text (epoch) documents longer than T are cut into sequences of T, from a
/// fresh offset; what is shorter than T stands one after the other in random order, cut into units of T tokens, of which the last begins again; all units
/// stand in random order. Sample number i is tokens [i · L, (i + 1) · L) of epoch after epoch: with L a multiple of T, no sequence of T is ever cut. What
/// is in a sample so follows from seed and number alone, and a run is resumed at the exact sample by its number. In memory are about 20 bytes for each
/// sequence of an epoch; tokens are read from the disk when they are wanted. Not for several threads at once.
/// </summary>
public sealed class PackedDataset
{
    private const double Deviations = 6;

    private readonly TokenCorpus _corpus;
    private readonly TokenSpans _spans;
    private readonly ulong _seed;
    private readonly int _unitLength;
    private long _epoch = -1;

    /// <summary>Starts of the sequences of a whole unit.</summary>
    private List<long> _whole = [];

    /// <summary>Shorter sequences, in the epoch's order.</summary>
    private (long Start, int Length)[] _short = [];

    /// <summary>Where each unit of shorter sequences begins: in which of them, after how many of its tokens.</summary>
    private List<(int Index, int Skipped)> _mixed = [];

    /// <summary>The units' order: those below the number of whole ones are whole.</summary>
    private int[] _order = [];

    /// <summary>A dataset.</summary>
    /// <param name="corpus">Where the tokens are.</param>
    /// <param name="spans">The documents in it.</param>
    /// <param name="length">T, the longest sequence; where there are fewer tokens in all, as many.</param>
    /// <param name="rowLength">L, tokens in a sample.</param>
    /// <param name="seed">The order.</param>
    /// <exception cref="DatasetException">There is no document of two tokens.</exception>
    public PackedDataset(TokenCorpus corpus, TokenSpans spans, int length, int rowLength, long seed)
    {
        ArgumentNullException.ThrowIfNull(corpus);
        ArgumentNullException.ThrowIfNull(spans);
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 2);
        ArgumentOutOfRangeException.ThrowIfLessThan(rowLength, 2);
        (_corpus, _spans, _seed, RowLength) = (corpus, spans, (ulong)seed, rowLength);
        if (!Enumerable.Range(0, spans.Count).Any(i => spans[i].Length > 1)) throw new DatasetException("there is no text of even two tokens to learn");
        _unitLength = (int)Math.Min(length, spans.Tokens);
        Begin(0);
        MaxSequences = Room();
    }

    /// <summary>L, tokens in a sample.</summary>
    public int RowLength { get; }

    /// <summary>Tokens of one pass over the text: all of it, and fewer than T of it again.</summary>
    public long TokensPerEpoch => (long)_order.Length * _unitLength;

    /// <summary>
    /// Sequences that a row has room for: as many as are in one on average, and six standard deviations more. Should a row ever hold more, what it has no
    /// room for is not learnt from in that epoch (<see cref="PackedBatch.Ignored"/>).
    /// </summary>
    public int MaxSequences { get; }

    /// <summary>Sample number <paramref name="index"/>.</summary>
    /// <exception cref="DatasetException">A file was cut off meanwhile.</exception>
    public PackedBatch Sample(long index)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        var row = new Row(RowLength, MaxSequences);
        while (!row.IsFull)
        {
            var position = (Int128)index * RowLength + row.Filled;
            Begin((long)(position / TokensPerEpoch));
            var inEpoch = (long)(position % TokensPerEpoch);
            Add(row, _order[inEpoch / _unitLength], (int)(inEpoch % _unitLength));
        }
        foreach (var (start, at, length) in row.Sequences) _corpus.Read(start, row.Tokens.AsSpan(at, length));
        return new(row.Tokens, row.Boundaries, row.Ignored);
    }

    /// <summary>Adds the rest of a unit, or as much of it as the row has room for.</summary>
    private void Add(Row row, int unit, int skipped)
    {
        if (unit < _whole.Count)
        {
            row.Add(_whole[unit] + skipped, _unitLength - skipped);
            return;
        }
        var left = _unitLength;
        for (var (next, done) = _mixed[unit - _whole.Count]; left > 0 && !row.IsFull; (next, done) = ((next + 1) % _short.Length, 0))
        {
            var (start, length) = _short[next];
            var taken = Math.Min(length - done, left);
            left -= taken;
            if (skipped < taken) row.Add(start + done + skipped, taken - skipped);
            skipped = Math.Max(0, skipped - taken);
        }
    }

    private void Begin(long epoch)
    {
        if (epoch == _epoch) return;
        var random = SplitMix.Of(_seed, (ulong)epoch);
        var (whole, shorter) = (new List<long>(_whole.Count), new List<(long Start, int Length)>(_short.Length));
        for (var i = 0; i < _spans.Count; i++)
        {
            var (at, left) = _spans[i];
            // Where a document is cut moves from epoch to epoch, so that every token comes to have a context.
            if (left > _unitLength && random.Below(_unitLength) is var offset and > 0) Cut(offset);
            while (left >= _unitLength) Cut(_unitLength);
            if (left > 0) Cut((int)left);

            void Cut(int length)
            {
                if (length == _unitLength) whole.Add(at);
                else shorter.Add((at, length));
                (at, left) = (at + length, left - length);
            }
        }
        (_whole, _short) = (whole, Array.ConvertAll(random.Permutation(shorter.Count), i => shorter[i]));
        _mixed = Mix();
        _order = random.Permutation(checked(_whole.Count + _mixed.Count));
        _epoch = epoch;
    }

    private List<(int Index, int Skipped)> Mix()
    {
        var units = new List<(int, int)>();
        long begun = 0, next = 0;
        for (var i = 0; i < _short.Length; i++)
        {
            for (; next < begun + _short[i].Length; next += _unitLength) units.Add((i, (int)(next - begun)));
            begun += _short[i].Length;
        }
        return units;
    }

    private int Room()
    {
        double sum = _whole.Count, squares = _whole.Count;
        for (var unit = 0; unit < _mixed.Count; unit++)
        {
            double count = SequencesIn(unit);
            (sum, squares) = (sum + count, squares + count * count);
        }
        var (units, mean) = ((double)RowLength / _unitLength, sum / _order.Length);
        var usual = units * mean + Deviations * Math.Sqrt(units * Math.Max(0, squares / _order.Length - mean * mean));
        // Two more, for those that a row's ends cut.
        return (int)Math.Clamp(Math.Ceiling(usual) + 2, 2, RowLength);
    }

    private int SequencesIn(int mixedUnit)
    {
        if (mixedUnit + 1 < _mixed.Count)
        {
            var (next, skipped) = _mixed[mixedUnit + 1];
            return next - _mixed[mixedUnit].Index + (skipped > 0 ? 1 : 0);
        }
        // The last one begins again with the first sequences.
        var row = new Row(_unitLength, _unitLength);
        Add(row, _whole.Count + mixedUnit, 0);
        return row.Sequences.Count;
    }

    /// <summary>A row that is filled with sequences.</summary>
    private sealed class Row
    {
        private readonly int _maxSequences;

        public Row(int length, int maxSequences)
        {
            _maxSequences = maxSequences;
            Tokens = new int[length];
            Boundaries = new int[maxSequences + 1];
            Boundaries.AsSpan(1).Fill(length);
        }

        public int[] Tokens { get; }

        public int[] Boundaries { get; }

        public int Filled { get; private set; }

        public int Ignored { get; private set; }

        /// <summary>Where each is read, where it is put, and how long it is.</summary>
        public List<(long Start, int At, int Length)> Sequences { get; } = [];

        public bool IsFull => Filled + Ignored == Tokens.Length;

        public void Add(long start, int length)
        {
            length = Math.Min(length, Tokens.Length - Filled);
            if (Sequences.Count == _maxSequences - 1 && Filled + length < Tokens.Length)
            {
                Ignored = Tokens.Length - Filled;
                return;
            }
            Sequences.Add((start, Filled, length));
            Filled += length;
            Boundaries[Sequences.Count] = Filled;
        }
    }
}
