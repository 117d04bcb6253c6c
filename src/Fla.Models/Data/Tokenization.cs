using Fla.Models.Tokenizers;

namespace Fla.Models.Data;

/// <summary>
/// Turns documents into tokens: each begins and ends with what the tokenizer puts there, and for training ends with its end token in any case, so that a
/// model learns where texts end.
/// </summary>
public sealed class Tokenization
{
    /// <summary>Characters that a thread takes at a time.</summary>
    private const int BatchLength = 1 << 16;

    private readonly TextTokenizer _tokenizer;
    private readonly int[] _before;
    private readonly int[] _after;

    /// <summary>A way of tokenizing.</summary>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="endsDocuments">Whether a document without the tokenizer's end token, if there is one, is given it.</param>
    public Tokenization(TextTokenizer tokenizer, bool endsDocuments = true)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        _tokenizer = tokenizer;
        // What a tokenizer puts around a text is the same for every text.
        var (whole, bare) = (tokenizer.Encode("a"), tokenizer.Encode("a", addSpecialTokens: false));
        var at = whole.AsSpan().IndexOf(bare);
        _before = whole[..at];
        _after = whole[(at + bare.Length)..];
        if (endsDocuments && tokenizer.EosId is { } end && (_after.Length == 0 || _after[^1] != end)) _after = [.. _after, end];
    }

    /// <summary>Tokens of a document, or of a part of one.</summary>
    public int[] Encode(TextPart part) =>
        [.. part.IsFirst ? _before : [], .. _tokenizer.Encode(part.Text, addSpecialTokens: false), .. part.IsLast ? _after : []];

    /// <summary>Tokens of all documents of text files, one after the other, in memory.</summary>
    /// <exception cref="DatasetException">A file cannot be read as what its name says.</exception>
    public int[] EncodeAll(IEnumerable<string> files, DocumentReader? reader = null)
    {
        ArgumentNullException.ThrowIfNull(files);
        reader ??= new();
        return [.. files.SelectMany(reader.Read).SelectMany(Encode)];
    }

    /// <summary>Writes the tokens of documents to a file, on all processor cores, in order, with little of it in memory at any time.</summary>
    /// <param name="parts">The documents.</param>
    /// <param name="writer">Where they go; the caller finishes it.</param>
    /// <param name="progress">Told of the tokens so far.</param>
    /// <param name="cancellation">Stops between parts.</param>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public void Write(IEnumerable<TextPart> parts, TokenFileWriter writer, Action<long>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(parts);
        ArgumentNullException.ThrowIfNull(writer);
        var underWay = new Queue<Task<List<(int[] Tokens, bool IsLast)>>>();
        foreach (var batch in Batches(parts))
        {
            cancellation.ThrowIfCancellationRequested();
            if (underWay.Count == 2 * Environment.ProcessorCount) WriteNext();
            underWay.Enqueue(Task.Run(() => batch.ConvertAll(part => (Encode(part), part.IsLast)), cancellation));
        }
        while (underWay.Count > 0) WriteNext();

        void WriteNext()
        {
            foreach (var (tokens, isLast) in underWay.Dequeue().GetAwaiter().GetResult())
            {
                writer.Add(tokens);
                if (isLast) writer.EndDocument();
            }
            progress?.Invoke(writer.Count);
        }
    }

    private static IEnumerable<List<TextPart>> Batches(IEnumerable<TextPart> parts)
    {
        var (batch, length) = (new List<TextPart>(), 0);
        foreach (var part in parts)
        {
            batch.Add(part);
            length += part.Text.Length;
            if (length < BatchLength) continue;
            yield return batch;
            (batch, length) = ([], 0);
        }
        if (batch.Count > 0) yield return batch;
    }
}
