using System.Text.Json;

namespace Fla.Models.Checkpoints;

/// <summary><c>model.safetensors.index.json</c>: which shard holds which tensor.</summary>
internal sealed class ShardIndex
{
    private const long MaxFileBytes = SafetensorsHeader.MaxJsonLength;

    private readonly Dictionary<string, string> _weightMap = new(StringComparer.Ordinal);
    private readonly string _path;

    private ShardIndex(string path) => _path = path;

    /// <summary>Shard file name by tensor name.</summary>
    public IReadOnlyDictionary<string, string> WeightMap => _weightMap;

    /// <summary>Names of the shards, sorted.</summary>
    public IEnumerable<string> Shards => _weightMap.Values.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal);

    /// <summary>Reads and validates an index.</summary>
    public static ShardIndex Read(string path)
    {
        try
        {
            var length = new FileInfo(path).Length;
            return length <= MaxFileBytes
                ? Parse(File.ReadAllBytes(path), path)
                : throw new CheckpointException($"{length} bytes are too many for an index", path);
        }
        catch (Exception error) when (error is IOException and not CheckpointException or UnauthorizedAccessException)
        {
            throw new CheckpointException("cannot be read: " + error.Message, path, innerException: error);
        }
    }

    /// <summary>Parses and validates the bytes of an index.</summary>
    public static ShardIndex Parse(ReadOnlyMemory<byte> bytes, string path)
    {
        var index = new ShardIndex(path);
        try
        {
            using var document = JsonDocument.Parse(bytes, new JsonDocumentOptions { MaxDepth = 8 });
            index.ReadMap(document.RootElement);
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            // InvalidOperationException: text that is not valid UTF-8 or UTF-16.
            throw new CheckpointException("the index is not well-formed JSON: " + error.Message, path, innerException: error);
        }

        return index;
    }

    private void ReadMap(JsonElement root)
    {
        if (root.ValueKind != JsonValueKind.Object || !root.TryGetProperty("weight_map", out var map) || map.ValueKind != JsonValueKind.Object)
        {
            throw new CheckpointException("the index has no weight_map object", _path);
        }

        foreach (var entry in map.EnumerateObject())
        {
            var shard = entry.Value.ValueKind == JsonValueKind.String ? entry.Value.GetString()! : "";
            if (!IsPlainFileName(shard))
            {
                throw new CheckpointException("the index does not map it to the name of a file in the same folder", _path, entry.Name);
            }

            if (!_weightMap.TryAdd(entry.Name, shard))
            {
                throw new CheckpointException("the index has it twice", _path, entry.Name);
            }
        }
    }

    private static bool IsPlainFileName(string name)
        => name.Length is > 0 and <= 255 && name is not "." and not ".." && name.IndexOfAny(['/', '\\', ':', '\0']) < 0;
}
