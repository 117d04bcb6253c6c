using System.Buffers.Binary;

namespace Fla.Models.Data;

/// <summary>
/// Writes a <see cref="TokenFile"/>, document by document. The files get their names when all is written: what is there is whole, the description last.
/// </summary>
public sealed class TokenFileWriter : IDisposable
{
    private const string Unfinished = ".unfinished";
    private const int BufferSize = 1 << 20;

    private readonly string _path;
    private readonly int _vocabSize;
    private readonly bool _isWide;
    private readonly FileStream _tokens;
    private readonly FileStream _ends;
    private long _lastEnd;

    /// <summary>Begins a file.</summary>
    /// <param name="path">X.bin; replaced when it is there.</param>
    /// <param name="vocabSize">One more than the largest token; up to 65536 tokens are written as u16.</param>
    public TokenFileWriter(string path, int vocabSize)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentOutOfRangeException.ThrowIfLessThan(vocabSize, 1);
        if (!path.EndsWith(TokenFile.Extension, StringComparison.Ordinal)) throw new ArgumentException($"a file of tokens is named *{TokenFile.Extension}", nameof(path));
        _path = path;
        _vocabSize = vocabSize;
        _isWide = vocabSize > ushort.MaxValue + 1;
        _tokens = new(path + Unfinished, FileMode.Create, FileAccess.Write, FileShare.None, BufferSize);
        _ends = new(EndsPath + Unfinished, FileMode.Create, FileAccess.Write, FileShare.None, BufferSize);
    }

    /// <summary>Tokens so far.</summary>
    public long Count { get; private set; }

    /// <summary>Documents that were ended so far.</summary>
    public long Documents { get; private set; }

    private string EndsPath => Path.ChangeExtension(_path, TokenFile.EndsExtension);

    private string HeaderPath => Path.ChangeExtension(_path, TokenFileHeader.Extension);

    /// <summary>Adds tokens to the document under way.</summary>
    /// <exception cref="TokenIdException">A token is not in the vocabulary.</exception>
    public void Add(ReadOnlySpan<int> tokens)
    {
        Span<byte> bytes = stackalloc byte[sizeof(uint)];
        for (var i = 0; i < tokens.Length; i++)
        {
            if ((uint)tokens[i] >= (uint)_vocabSize) throw new TokenIdException(tokens[i], i, _vocabSize);
            BinaryPrimitives.WriteInt32LittleEndian(bytes, tokens[i]);
            _tokens.Write(_isWide ? bytes : bytes[..sizeof(ushort)]);
        }
        Count += tokens.Length;
    }

    /// <summary>Ends the document under way; one without tokens leaves no trace.</summary>
    public void EndDocument()
    {
        if (Count == _lastEnd) return;
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, Count);
        _ends.Write(bytes);
        _lastEnd = Count;
        Documents++;
    }

    /// <summary>Ends the last document, and gives the files their names.</summary>
    public void Finish()
    {
        EndDocument();
        var header = new TokenFileHeader { Dtype = _isWide ? "u32" : "u16", VocabSize = _vocabSize, Tokens = Count, Documents = Documents };
        foreach (var stream in new[] { _tokens, _ends })
        {
            stream.Flush(flushToDisk: true);
            stream.Dispose();
        }
        File.Delete(HeaderPath);
        File.Move(_path + Unfinished, _path, overwrite: true);
        File.Move(EndsPath + Unfinished, EndsPath, overwrite: true);
        Checkpoints.AtomicFile.Write(HeaderPath, stream => stream.Write(header.ToBytes()));
    }

    /// <summary>Removes what was not finished.</summary>
    public void Dispose()
    {
        _tokens.Dispose();
        _ends.Dispose();
        File.Delete(_path + Unfinished);
        File.Delete(EndsPath + Unfinished);
    }
}
