using System.Text.Json;
using System.Text.Json.Serialization;

namespace Fla.Models.Data;

/// <summary>What stands beside a file of tokens, as X.json beside X.bin.</summary>
public sealed record TokenFileHeader
{
    /// <summary>How the file's name ends.</summary>
    internal const string Extension = ".json";

    private static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        WriteIndented = true,
    };

    /// <summary>u16 or u32, little-endian.</summary>
    public required string Dtype { get; init; }

    /// <summary>One more than the largest token id that can occur.</summary>
    public required int VocabSize { get; init; }

    /// <summary>Number of tokens, to be checked against the file's size; may be left out.</summary>
    public long? Tokens { get; init; }

    /// <summary>Number of documents, whose ends are in X.ends (u64, little-endian); left out where there is no such file.</summary>
    public long? Documents { get; init; }

    /// <summary>Token that ends a document, where there is no file of ends; without either, the whole is one document.</summary>
    public int? EndToken { get; init; }

    /// <summary>Bytes of a token.</summary>
    [JsonIgnore]
    public int Width => Dtype == "u16" ? sizeof(ushort) : sizeof(uint);

    /// <summary>Reads and checks it.</summary>
    /// <exception cref="DatasetException">It is missing or malformed.</exception>
    internal static TokenFileHeader Load(string path)
    {
        if (!File.Exists(path)) throw new DatasetException($"a file of tokens has its dtype and vocab_size in {Path.GetFileName(path)} beside it, which is not there", path);
        try
        {
            var header = JsonSerializer.Deserialize<TokenFileHeader>(File.ReadAllBytes(path), Json) ?? throw new DatasetException("holds null", path);
            if (header.Dtype is not ("u16" or "u32")) throw new DatasetException($"dtype is u16 or u32, not \"{header.Dtype}\"", path);
            if (header.VocabSize < 1) throw new DatasetException($"vocab_size cannot be {header.VocabSize}", path);
            if (header.EndToken is { } end && (end < 0 || end >= header.VocabSize)) throw new DatasetException($"end_token {end} is not in a vocabulary of {header.VocabSize}", path);
            if (header.Documents is not null && header.EndToken is not null) throw new DatasetException("has both documents and an end_token: which tells where documents end?", path);
            return header;
        }
        catch (JsonException error)
        {
            throw new DatasetException(error.Message, path, error);
        }
    }

    /// <summary>The bytes of the file.</summary>
    internal byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this, Json);
}
