using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Fla.Models.Tokenizers;

namespace Fla.Models.Training;

/// <summary>
/// Text files as one stream of tokens. A file is a document, and so is every line of a .jsonl file, by its field "text"; each begins with the tokenizer's
/// first token where it has one.
/// </summary>
public static class SourceText
{
    private const string TextField = "text";

    /// <summary>Tokens of files, one after the other.</summary>
    /// <param name="files">Paths, in the order in which they are read.</param>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <exception cref="TrainingException">A file is no UTF-8 text, or a line of a .jsonl file has no text.</exception>
    /// <exception cref="IOException">A file cannot be read.</exception>
    public static int[] Tokens(IEnumerable<string> files, TextTokenizer tokenizer)
    {
        ArgumentNullException.ThrowIfNull(files);
        ArgumentNullException.ThrowIfNull(tokenizer);
        var strict = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
        var tokens = new List<int>();
        foreach (var file in files)
        {
            var text = Read(file, strict);
            if (!file.EndsWith(".jsonl", StringComparison.OrdinalIgnoreCase)) tokens.AddRange(tokenizer.Encode(text));
            else foreach (var document in Documents(file, text)) tokens.AddRange(tokenizer.Encode(document));
        }
        return [.. tokens];
    }

    private static string Read(string file, Encoding strict)
    {
        try
        {
            return File.ReadAllText(file, strict);
        }
        catch (DecoderFallbackException error)
        {
            throw new TrainingException($"{file} is no text: a byte that is not UTF-8 after {error.Index} characters");
        }
    }

    private static IEnumerable<string> Documents(string file, string text)
    {
        var lines = text.Split('\n');
        for (var i = 0; i < lines.Length; i++)
        {
            if (string.IsNullOrWhiteSpace(lines[i])) continue;
            yield return Document(lines[i]) ?? throw new TrainingException($"{file}, line {i + 1}: no JSON object with a string \"{TextField}\"");
        }
    }

    private static string? Document(string line)
    {
        try
        {
            return JsonNode.Parse(line) is JsonObject row && row[TextField] is JsonValue value && value.TryGetValue<string>(out var text) ? text : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
