using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Unicode;

namespace Fla.Models.Configs;

/// <summary>JSON as Python writes and reads it: bare or tagged infinities, sorted keys, two spaces, floats that look like floats.</summary>
internal static class ConfigJson
{
    /// <summary>Key of the object that newer transformers write for a number that JSON does not have.</summary>
    public const string FloatKey = "__float__";

    private static readonly string[] BareWords = ["-Infinity", "Infinity", "NaN"];

    private static readonly JsonDocumentOptions ReadOptions = new() { MaxDepth = 32, AllowDuplicateProperties = false };

    /// <summary>Parses an object; bare <c>Infinity</c>, <c>-Infinity</c> and <c>NaN</c> become tagged ones.</summary>
    /// <exception cref="ConfigException">Not well-formed, a key twice, too deep, or not an object.</exception>
    public static JsonObject Parse(ReadOnlySpan<byte> bytes)
    {
        if (!Utf8.IsValid(bytes))
        {
            throw new ConfigException("not valid UTF-8");
        }

        try
        {
            if (JsonNode.Parse(TagBareWords(bytes), documentOptions: ReadOptions) is not JsonObject root)
            {
                throw new ConfigException("not a JSON object");
            }

            // Nodes are built when first looked at; looking at all of them here brings every error of the text to this place.
            _ = root.DeepClone().ToJsonString();
            return root;
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException or ArgumentException)
        {
            throw new ConfigException("not well-formed JSON: " + error.Message, innerException: error);
        }
    }

    /// <summary>Writes an object with sorted keys, indented, ending in a newline.</summary>
    public static void Write(Stream stream, JsonObject root)
    {
        var options = new JsonWriterOptions { Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
        using (var writer = new Utf8JsonWriter(stream, options))
        {
            Sort(root).WriteTo(writer);
        }

        stream.WriteByte((byte)'\n');
    }

    /// <summary>A number as Python's <c>json</c> prints a float: shortest digits that read back, never an integer; infinities tagged.</summary>
    public static JsonNode Float(double value)
    {
        if (!double.IsFinite(value))
        {
            return new JsonObject { [FloatKey] = value.ToString(CultureInfo.InvariantCulture) };
        }

        var text = value.ToString("R", CultureInfo.InvariantCulture).Replace('E', 'e');
        return JsonNode.Parse(text.AsSpan().IndexOfAny('.', 'e') >= 0 ? text : text + ".0")!;
    }

    /// <summary>Reads a number, or a tagged one that JSON does not have.</summary>
    public static bool TryGetFloat(JsonNode? node, out double value)
    {
        value = 0;
        if (node is JsonValue number && number.GetValueKind() == JsonValueKind.Number)
        {
            return number.TryGetValue(out value);
        }

        if (node is not JsonObject { Count: 1 } tagged || tagged[FloatKey] is not JsonValue text || !text.TryGetValue(out string? word))
        {
            return false;
        }

        value = word switch
        {
            "Infinity" => double.PositiveInfinity,
            "-Infinity" => double.NegativeInfinity,
            _ => double.NaN,
        };
        return BareWords.Contains(word);
    }

    private static JsonNode Sort(JsonNode node)
    {
        switch (node)
        {
            case JsonObject source:
                var sorted = new JsonObject();
                foreach (var (key, value) in source.OrderBy(entry => entry.Key, StringComparer.Ordinal))
                {
                    sorted.Add(key, value is null ? null : Sort(value));
                }

                return sorted;
            case JsonArray array:
                return new JsonArray([.. array.Select(item => item is null ? null : Sort(item))]);
            default:
                return node.DeepClone();
        }
    }

    private static byte[] TagBareWords(ReadOnlySpan<byte> bytes)
    {
        var output = new MemoryStream(bytes.Length + 64);
        var inString = false;
        for (var i = 0; i < bytes.Length; i++)
        {
            var current = bytes[i];
            if (inString && current == (byte)'\\' && i + 1 < bytes.Length)
            {
                output.WriteByte(current);
                output.WriteByte(bytes[++i]);
                continue;
            }

            if (current == (byte)'"')
            {
                inString = !inString;
            }
            else if (!inString && current is (byte)'-' or (byte)'I' or (byte)'N' && BareWordAt(bytes[i..]) is { } word)
            {
                output.Write(System.Text.Encoding.UTF8.GetBytes($"{{\"{FloatKey}\":\"{word}\"}}"));
                i += word.Length - 1;
                continue;
            }

            output.WriteByte(current);
        }

        return output.ToArray();
    }

    private static string? BareWordAt(ReadOnlySpan<byte> bytes)
    {
        foreach (var word in BareWords)
        {
            if (bytes.Length >= word.Length && System.Text.Ascii.Equals(bytes[..word.Length], word))
            {
                return word;
            }
        }

        return null;
    }
}
