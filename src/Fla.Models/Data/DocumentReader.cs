using System.Text;
using System.Text.Json;

namespace Fla.Models.Data;

/// <summary>A document, or a part of one that is too long to be held as a whole.</summary>
/// <param name="Text">The text; not empty.</param>
/// <param name="IsFirst">Whether the document begins with it.</param>
/// <param name="IsLast">Whether the document ends with it.</param>
public readonly record struct TextPart(string Text, bool IsFirst = true, bool IsLast = true);

/// <summary>
/// Documents of text files, one after the other and never all in memory: a text file is a document, and so is each line of a .jsonl file and each row of
/// a .parquet file, by one field. Documents without text are passed over.
/// </summary>
/// <param name="field">Field of a .jsonl line, or column of a .parquet file, that holds the text.</param>
/// <param name="partLength">Text files of more characters than this come in parts, cut between lines where words meet no other white space.</param>
public sealed class DocumentReader(string field = DocumentReader.DefaultField, int partLength = 1 << 20)
{
    /// <summary>The usual name of the field.</summary>
    public const string DefaultField = "text";

    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Documents of a file.</summary>
    /// <exception cref="DatasetException">It is no UTF-8, no JSON or no Parquet, lacks the field, or holds tokens.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public IEnumerable<TextPart> Read(string file)
    {
        ArgumentException.ThrowIfNullOrEmpty(file);
        return DataFiles.KindOf(file) switch
        {
            DataKind.JsonLines => Documents(file).Where(text => text.Length > 0).Select(text => new TextPart(text)),
            DataKind.Parquet => ParquetColumn.Read(file, field).Where(text => !string.IsNullOrEmpty(text)).Select(text => new TextPart(text!)),
            DataKind.Tokens => throw new DatasetException("holds tokens, not text", file),
            _ => Parts(file),
        };
    }

    private IEnumerable<TextPart> Parts(string file)
    {
        using var reader = new StreamReader(file, Strict);
        var buffer = new char[partLength];
        var (kept, isFirst) = (0, true);
        while (true)
        {
            var filled = kept + Fill(file, reader, buffer.AsSpan(kept));
            if (filled == 0) yield break;
            var isLast = filled < buffer.Length;
            var cut = isLast ? filled : Cut(buffer.AsSpan(0, filled));
            yield return new(new string(buffer, 0, cut), isFirst, isLast);
            if (isLast) yield break;
            kept = filled - cut;
            buffer.AsSpan(cut, kept).CopyTo(buffer);
            isFirst = false;
        }
    }

    private static int Fill(string file, StreamReader reader, Span<char> room)
    {
        try
        {
            return reader.ReadBlock(room);
        }
        catch (DecoderFallbackException error)
        {
            throw new DatasetException("is no text: it has bytes that are not UTF-8", file, error);
        }
    }

    /// <summary>
    /// The last place after a line's end with no other white space on either side: there, tokenizers that split text into words split it too. Without
    /// such a place, the end, but not between two halves of a character. At least one character stays for the next part, which can so be the last.
    /// </summary>
    private static int Cut(ReadOnlySpan<char> text)
    {
        for (var i = text.Length - 1; i > 1; i--)
        {
            if (text[i - 1] != '\n' || char.IsWhiteSpace(text[i])) continue;
            var before = text[i - 2] == '\r' ? i - 3 : i - 2;
            if (before >= 0 && !char.IsWhiteSpace(text[before])) return i;
        }
        return char.IsHighSurrogate(text[^2]) ? text.Length - 2 : text.Length - 1;
    }

    private IEnumerable<string> Documents(string file)
    {
        using var reader = new StreamReader(file, Strict);
        for (var number = 1; ReadLine(file, reader, number) is { } line; number++)
        {
            if (string.IsNullOrWhiteSpace(line)) continue;
            yield return Document(line) ?? throw new DatasetException($"line {number} is no JSON object with a string \"{field}\"", file);
        }
    }

    private static string? ReadLine(string file, StreamReader reader, int number)
    {
        try
        {
            return reader.ReadLine();
        }
        catch (DecoderFallbackException error)
        {
            throw new DatasetException($"is no text: it has bytes that are not UTF-8 at or soon after line {number}", file, error);
        }
    }

    private string? Document(string line)
    {
        try
        {
            using var row = JsonDocument.Parse(line);
            return row.RootElement.ValueKind == JsonValueKind.Object && row.RootElement.TryGetProperty(field, out var text) && text.ValueKind == JsonValueKind.String
                ? text.GetString() : null;
        }
        // A string can hold half a character, which no string of .NET's reader can.
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            return null;
        }
    }
}
