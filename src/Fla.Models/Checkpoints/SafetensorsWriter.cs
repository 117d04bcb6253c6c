using System.Buffers;
using System.Buffers.Binary;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Fla.Models.Checkpoints;

/// <summary>
/// Writes safetensors files that load unchanged in Python. Bytes go to a temporary file beside the target, reach the disk, and only then take
/// the target's name: a crash leaves the old file or the new one, never half of one.
/// </summary>
public static class SafetensorsWriter
{
    private static readonly Dictionary<string, string> FormatMetadata = new() { ["format"] = "pt" };

    /// <summary>
    /// Writes one file. Tensors are sorted as the format's own writer sorts them: wide element types first, then by name.
    /// </summary>
    /// <param name="path">The file to create or replace.</param>
    /// <param name="tensors">What to save.</param>
    /// <param name="metadata">The header's <c>__metadata__</c>; null stands for <c>{"format": "pt"}</c>, which transformers asks for.</param>
    /// <exception cref="CheckpointException">A name twice, a producer that wrote too little or too much, or the disk refuses.</exception>
    public static void Write(string path, IEnumerable<TensorData> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(tensors);
        AtomicFile.Replace(path, WriteTemporary(path, tensors, metadata));
    }

    /// <summary>Writes the file under a temporary name, flushed to the disk, and returns that name.</summary>
    internal static string WriteTemporary(string path, IEnumerable<TensorData> tensors, IReadOnlyDictionary<string, string>? metadata)
    {
        var sorted = Sort(path, tensors);
        return AtomicFile.Prepare(path, stream =>
        {
            stream.Write(BuildHeader(path, sorted, metadata ?? FormatMetadata));
            foreach (var tensor in sorted)
            {
                var start = stream.Position;
                tensor.WriteTo(stream);
                if (stream.Position - start != tensor.ByteLength)
                {
                    throw new CheckpointException(
                        $"its producer wrote {stream.Position - start} bytes instead of {tensor.ByteLength}", path, tensor.Name);
                }
            }
        });
    }

    private static TensorData[] Sort(string path, IEnumerable<TensorData> tensors)
    {
        TensorData[] sorted = [.. tensors.OrderByDescending(t => t.Type).ThenBy(t => t.Name, StringComparer.Ordinal)];
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (var tensor in sorted)
        {
            if (!names.Add(tensor.Name))
            {
                throw new CheckpointException("given twice", path, tensor.Name);
            }
        }

        return sorted;
    }

    private static byte[] BuildHeader(string path, TensorData[] sorted, IReadOnlyDictionary<string, string> metadata)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            if (metadata.Count > 0)
            {
                json.WriteStartObject(SafetensorsHeader.MetadataKey);
                foreach (var (key, value) in metadata.OrderBy(entry => entry.Key, StringComparer.Ordinal))
                {
                    json.WriteString(key, value);
                }

                json.WriteEndObject();
            }

            long offset = 0;
            foreach (var tensor in sorted)
            {
                json.WriteStartObject(tensor.Name);
                json.WriteString("dtype", tensor.Type.Tag());
                WriteSizes(json, "shape", tensor.Shape);
                WriteSizes(json, "data_offsets", [offset, offset += tensor.ByteLength]);
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        var padded = (buffer.WrittenCount + 7) / 8 * 8;
        if (padded > SafetensorsHeader.MaxJsonLength)
        {
            throw new CheckpointException($"{sorted.Length} tensors make a header of {padded} bytes, more than the format allows", path);
        }

        var header = new byte[SafetensorsHeader.PrefixLength + padded];
        BinaryPrimitives.WriteUInt64LittleEndian(header, (ulong)padded);
        header.AsSpan(SafetensorsHeader.PrefixLength).Fill((byte)' ');
        buffer.WrittenSpan.CopyTo(header.AsSpan(SafetensorsHeader.PrefixLength));
        return header;
    }

    private static void WriteSizes(Utf8JsonWriter json, string name, IEnumerable<long> sizes)
    {
        json.WriteStartArray(name);
        foreach (var size in sizes)
        {
            json.WriteNumberValue(size);
        }

        json.WriteEndArray();
    }
}
