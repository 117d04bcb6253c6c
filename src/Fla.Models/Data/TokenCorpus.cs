namespace Fla.Models.Data;

/// <summary>The documents of several files of tokens, as one row of tokens. Can be used from several threads.</summary>
public sealed class TokenCorpus : IDisposable
{
    private readonly long[] _starts;

    /// <summary>Puts files together.</summary>
    /// <param name="files">The files; they become the corpus's.</param>
    public TokenCorpus(IReadOnlyList<TokenFile> files)
    {
        ArgumentNullException.ThrowIfNull(files);
        Files = files;
        _starts = new long[files.Count];
        foreach (var (i, file) in files.Index())
        {
            _starts[i] = Count;
            Count += file.Count;
            Documents += file.Ends.Length;
        }
    }

    /// <summary>The files.</summary>
    public IReadOnlyList<TokenFile> Files { get; }

    /// <summary>Number of tokens.</summary>
    public long Count { get; }

    /// <summary>Number of documents.</summary>
    public long Documents { get; }

    /// <summary>One more than the largest token that can occur.</summary>
    public int VocabSize => Files.Select(file => file.Header.VocabSize).DefaultIfEmpty(1).Max();

    /// <summary>All documents.</summary>
    public TokenSpans All()
    {
        var all = new TokenSpans();
        foreach (var (i, file) in Files.Index())
        {
            long start = 0;
            foreach (var end in file.Ends)
            {
                all.Add(_starts[i] + start, end - start);
                start = end;
            }
        }
        return all;
    }

    /// <summary>Reads tokens of one document, or part of one.</summary>
    /// <param name="start">The first.</param>
    /// <param name="tokens">Room for as many as are wanted.</param>
    /// <exception cref="DatasetException">The file was cut off meanwhile.</exception>
    public void Read(long start, Span<int> tokens)
    {
        var at = Array.BinarySearch(_starts, start);
        // Of files that begin at one place, all but the last are empty.
        if (at < 0) at = ~at - 1;
        while (at + 1 < _starts.Length && _starts[at + 1] == start) at++;
        Files[at].Read(start - _starts[at], tokens);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var file in Files) file.Dispose();
    }
}
