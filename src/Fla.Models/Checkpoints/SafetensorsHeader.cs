using System.Buffers.Binary;
using System.Text.Json;
using System.Text.Unicode;

namespace Fla.Models.Checkpoints;

/// <summary>
/// Header of a safetensors file: eight bytes of length (little endian), then that many bytes of JSON. Every rule of the format is checked
/// here, so that what comes out can be trusted: the tensors cover the data exactly, in order, without holes or overlaps.
/// </summary>
internal sealed class SafetensorsHeader
{
    /// <summary>The longest JSON the format allows.</summary>
    public const int MaxJsonLength = 100_000_000;

    /// <summary>Bytes of the length in front of the JSON.</summary>
    public const int PrefixLength = sizeof(ulong);

    /// <summary>The key that holds a map of strings and not a tensor.</summary>
    public const string MetadataKey = "__metadata__";

    private readonly Dictionary<string, TensorInfo> _tensors = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _metadata = new(StringComparer.Ordinal);
    private readonly string _file;

    private SafetensorsHeader(string file) => _file = file;

    public IReadOnlyDictionary<string, TensorInfo> Tensors => _tensors;

    public IReadOnlyDictionary<string, string> Metadata => _metadata;

    /// <summary>Checks the length prefix of a file of <paramref name="fileLength"/> bytes and returns the length of the JSON.</summary>
    public static int ReadLength(ReadOnlySpan<byte> prefix, long fileLength, string file)
    {
        if (prefix.Length < PrefixLength)
        {
            throw new CheckpointException($"not a safetensors file: {fileLength} bytes are too few for a header", file);
        }

        var length = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (length > MaxJsonLength)
        {
            throw new CheckpointException($"the header claims {length} bytes, more than the format's limit of {MaxJsonLength}", file);
        }

        if ((long)length > fileLength - PrefixLength)
        {
            throw new CheckpointException($"the header claims {length} bytes, but the file has {fileLength - PrefixLength} after it", file);
        }

        return (int)length;
    }

    /// <summary>Parses and validates the JSON of a file whose data section has <paramref name="dataLength"/> bytes.</summary>
    public static SafetensorsHeader Parse(ReadOnlySpan<byte> json, long dataLength, string file)
    {
        if (json.IsEmpty || json[0] != (byte)'{')
        {
            throw new CheckpointException("the header is not a JSON object", file);
        }

        if (!Utf8.IsValid(json))
        {
            throw new CheckpointException("the header is not valid UTF-8", file);
        }

        var header = new SafetensorsHeader(file);
        try
        {
            header.ReadObject(json.TrimEnd((byte)' '));
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            // InvalidOperationException: an escape that names half of a surrogate pair.
            throw new CheckpointException("the header is not well-formed JSON: " + error.Message, file, innerException: error);
        }

        header.CheckCoverage(dataLength);
        return header;
    }

    private void ReadObject(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = 4 });
        reader.Read();
        var sawMetadata = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var key = reader.GetString()!;
            reader.Read();
            if (key == MetadataKey)
            {
                if (sawMetadata)
                {
                    throw new CheckpointException("the header has __metadata__ twice", _file);
                }

                sawMetadata = true;
                ReadMetadata(ref reader);
            }
            else if (!_tensors.TryAdd(key, ReadTensor(ref reader, key)))
            {
                throw new CheckpointException("the header has this key twice", _file, key);
            }
        }

        // Reads to the end, so that anything after the object is refused.
        while (reader.Read())
        {
        }
    }

    private void ReadMetadata(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.Null)
        {
            return;
        }

        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw new CheckpointException("__metadata__ is not an object", _file);
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var key = reader.GetString()!;
            reader.Read();
            if (reader.TokenType != JsonTokenType.String)
            {
                throw new CheckpointException($"the value of '{key}' in __metadata__ is not a string", _file);
            }

            if (!_metadata.TryAdd(key, reader.GetString()!))
            {
                throw new CheckpointException($"__metadata__ has '{key}' twice", _file);
            }
        }
    }

    private TensorInfo ReadTensor(ref Utf8JsonReader reader, string key)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw new CheckpointException("the header's entry is not an object", _file, key);
        }

        StoredType? type = null;
        long[]? shape = null;
        long[]? offsets = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var field = reader.GetString()!;
            reader.Read();
            switch (field)
            {
                case "dtype" when type is null:
                    type = ReadType(ref reader, key);
                    break;
                case "shape" when shape is null:
                    shape = ReadSizes(ref reader, key, field);
                    break;
                case "data_offsets" when offsets is null:
                    offsets = ReadSizes(ref reader, key, field);
                    break;
                case "dtype" or "shape" or "data_offsets":
                    throw new CheckpointException($"the header has {field} twice", _file, key);
                default:
                    throw new CheckpointException($"the header has the unknown field '{field}'", _file, key);
            }
        }

        if (type is null || shape is null || offsets is null)
        {
            throw new CheckpointException("the header lacks dtype, shape or data_offsets", _file, key);
        }

        return Check(key, type.Value, shape, offsets);
    }

    private StoredType ReadType(ref Utf8JsonReader reader, string key)
    {
        if (reader.TokenType != JsonTokenType.String)
        {
            throw new CheckpointException("dtype is not a string", _file, key);
        }

        var tag = reader.GetString()!;
        return StoredTypes.TryParse(tag, out var type)
            ? type
            : throw new CheckpointException($"dtype '{tag}' is not supported", _file, key);
    }

    private long[] ReadSizes(ref Utf8JsonReader reader, string key, string field)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            throw new CheckpointException($"{field} is not a list", _file, key);
        }

        var sizes = new List<long>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out var size) || size < 0)
            {
                throw new CheckpointException($"{field} holds something that is not a non-negative integer", _file, key);
            }

            sizes.Add(size);
        }

        return [.. sizes];
    }

    private TensorInfo Check(string key, StoredType type, long[] shape, long[] offsets)
    {
        if (offsets.Length != 2 || offsets[0] > offsets[1])
        {
            throw new CheckpointException("data_offsets is not [begin, end]", _file, key);
        }

        long elements = 1;
        long bytes;
        try
        {
            foreach (var size in shape)
            {
                elements = checked(elements * size);
            }

            bytes = checked(elements * type.SizeInBytes());
        }
        catch (OverflowException error)
        {
            throw new CheckpointException($"shape [{string.Join(", ", shape)}] overflows", _file, key, error);
        }

        if (bytes != offsets[1] - offsets[0])
        {
            throw new CheckpointException(
                $"shape [{string.Join(", ", shape)}] of {type.Tag()} is {bytes} bytes, but data_offsets span {offsets[1] - offsets[0]}",
                _file,
                key);
        }

        return new TensorInfo(key, type, shape, elements, offsets[0]);
    }

    private void CheckCoverage(long dataLength)
    {
        long end = 0;
        foreach (var tensor in _tensors.Values.OrderBy(t => t.Offset).ThenBy(t => t.ByteLength))
        {
            if (tensor.Offset != end)
            {
                var what = tensor.Offset < end ? "overlaps the tensor before it" : $"leaves a hole of {tensor.Offset - end} bytes before it";
                throw new CheckpointException($"its data at {tensor.Offset} {what}", _file, tensor.Name);
            }

            end += tensor.ByteLength;
            if (end > dataLength)
            {
                throw new CheckpointException($"its data ends at {end}, but the file has {dataLength} bytes of data", _file, tensor.Name);
            }
        }

        if (end != dataLength)
        {
            throw new CheckpointException($"{dataLength - end} bytes of data belong to no tensor", _file);
        }
    }
}
