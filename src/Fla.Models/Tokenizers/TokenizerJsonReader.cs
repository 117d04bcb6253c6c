using System.Text.Json;

namespace Fla.Models.Tokenizers;

/// <summary>Reads tokenizer.json and what stands beside it.</summary>
internal static class TokenizerJsonReader
{
    /// <summary>The file beside tokenizer.json that names the special tokens.</summary>
    public const string SpecialNamesFile = "tokenizer_config.json";

    private const long MaxFileBytes = 256 << 20;

    private static readonly JsonDocumentOptions Options = new() { MaxDepth = 32, AllowDuplicateProperties = false };

    /// <summary>Reads a file, and tokenizer_config.json beside it if there is one.</summary>
    /// <exception cref="TokenizerException">The file cannot be read, is malformed, or would not be honoured exactly.</exception>
    public static TextTokenizer Load(string path)
    {
        var beside = Path.Combine(Path.GetDirectoryName(path) ?? "", SpecialNamesFile);
        var names = File.Exists(beside) ? WithDocument(beside, ReadFile(beside), root => new SpecialNames(root)) : new SpecialNames();
        return WithDocument(path, ReadFile(path), root => new TokenizerJson(root, names));
    }

    /// <summary>Parses the bytes of a tokenizer.json.</summary>
    /// <exception cref="TokenizerException">Malformed, or not honoured exactly.</exception>
    public static TextTokenizer Parse(ReadOnlyMemory<byte> json) => WithDocument(null, json, root => new TokenizerJson(root, new SpecialNames()));

    private static byte[] ReadFile(string path)
    {
        try
        {
            var length = new FileInfo(path).Length;
            return length <= MaxFileBytes
                ? File.ReadAllBytes(path)
                : throw new TokenizerException($"{length} bytes are too many for a tokenizer", file: path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new TokenizerException("cannot be read: " + error.Message, file: path, innerException: error);
        }
    }

    private static T WithDocument<T>(string? file, ReadOnlyMemory<byte> json, Func<TokenizerPart, T> read)
    {
        try
        {
            using var document = JsonDocument.Parse(json, Options);
            return read(new TokenizerPart(document.RootElement, ""));
        }
        catch (TokenizerException error) when (file is not null)
        {
            throw new TokenizerException(error.Problem, error.Component, file, error);
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            // InvalidOperationException: text that is not valid UTF-8 or UTF-16.
            throw new TokenizerException("not well-formed JSON: " + error.Message, file: file, innerException: error);
        }
    }
}
