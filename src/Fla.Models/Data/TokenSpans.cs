namespace Fla.Models.Data;

/// <summary>Stretches of a corpus: documents, or parts of documents. 16 bytes of memory each.</summary>
public sealed class TokenSpans
{
    private readonly List<long> _starts = [];
    private readonly List<long> _lengths = [];

    /// <summary>Number of stretches.</summary>
    public int Count => _starts.Count;

    /// <summary>Tokens of all.</summary>
    public long Tokens { get; private set; }

    /// <summary>One of them.</summary>
    public (long Start, long Length) this[int index] => (_starts[index], _lengths[index]);

    /// <summary>Adds a stretch; one that goes on where the last ends, with <paramref name="continues"/>, makes that longer.</summary>
    public void Add(long start, long length, bool continues = false)
    {
        Tokens += length;
        if (continues && Count > 0 && _starts[^1] + _lengths[^1] == start)
        {
            _lengths[^1] += length;
            return;
        }
        _starts.Add(start);
        _lengths.Add(length);
    }

    /// <summary>Splits into a part to train on and a part to hold out, made of whole documents or, of long ones, whole blocks from all over.</summary>
    /// <param name="blockLength">Tokens of a block, several sequences long, so that little context is lost where blocks were taken out.</param>
    /// <param name="fraction">Share of the blocks to hold out, above 0 and below 1; at least one is.</param>
    /// <param name="seed">Which blocks.</param>
    /// <exception cref="DatasetException">There are fewer than two blocks.</exception>
    public (TokenSpans Train, TokenSpans HeldOut) Split(int blockLength, double fraction, long seed)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(blockLength);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(fraction, 0);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(fraction, 1);
        var blocks = 0;
        foreach (var length in _lengths) blocks = checked(blocks + Blocks(length, blockLength));
        if (blocks < 2) throw new DatasetException($"there are {Tokens} tokens; to hold some out, 2 documents, or 2 blocks of {blockLength}, are the least: give more text, or --held-out 0");
        var isHeldOut = new bool[blocks];
        var count = Math.Clamp((int)Math.Round(blocks * fraction), 1, blocks - 1);
        foreach (var block in Training.SplitMix.Of((ulong)seed, ulong.MaxValue).Permutation(blocks).AsSpan(0, count)) isHeldOut[block] = true;

        var (train, heldOut, next) = (new TokenSpans(), new TokenSpans(), 0);
        for (var i = 0; i < Count; i++)
        {
            var of = Blocks(_lengths[i], blockLength);
            for (var b = 0; b < of; b++, next++)
            {
                var start = (long)b * blockLength;
                // The last block takes the rest.
                var length = b == of - 1 ? _lengths[i] - start : blockLength;
                (isHeldOut[next] ? heldOut : train).Add(_starts[i] + start, length, continues: b > 0);
            }
        }
        return (train, heldOut);
    }

    private static int Blocks(long length, int blockLength) => checked((int)Math.Max(1, length / blockLength));
}
