using System.Runtime.InteropServices;

namespace Fla.Models.Checkpoints;

/// <summary>A tensor to be saved: its header entry, and where its bytes come from when its turn to be written has come.</summary>
public sealed class TensorData
{
    private const int BlockElements = 1 << 18;

    private readonly Action<Stream> _write;

    /// <summary>A tensor whose bytes are produced while the file is written, so that no whole copy of a model is needed in memory.</summary>
    /// <param name="name">State-dict key.</param>
    /// <param name="type">Element type.</param>
    /// <param name="shape">Sizes of the axes.</param>
    /// <param name="write">Writes exactly <see cref="ByteLength"/> bytes, row-major, little endian; writing fewer or more is an error.</param>
    /// <exception cref="CheckpointException">A reserved or empty name, a negative size, or a shape that overflows.</exception>
    public TensorData(string name, StoredType type, ReadOnlySpan<long> shape, Action<Stream> write)
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentNullException.ThrowIfNull(write);
        if (name.Length == 0 || name == SafetensorsHeader.MetadataKey)
        {
            throw new CheckpointException("not a name that a tensor can have", key: name);
        }

        Name = name;
        Type = type;
        Shape = shape.ToArray();
        _write = write;
        try
        {
            long bytes = type.SizeInBytes();
            foreach (var size in shape)
            {
                bytes = checked(bytes * size);
                if (size < 0)
                {
                    throw new CheckpointException($"shape [{string.Join(", ", Shape)}] has a negative size", key: name);
                }
            }

            ByteLength = bytes;
        }
        catch (OverflowException error)
        {
            throw new CheckpointException($"shape [{string.Join(", ", Shape)}] overflows", key: name, innerException: error);
        }
    }

    /// <summary>State-dict key.</summary>
    public string Name { get; }

    /// <summary>Element type.</summary>
    public StoredType Type { get; }

    /// <summary>Sizes of the axes, outermost first.</summary>
    public IReadOnlyList<long> Shape { get; }

    /// <summary>Number of bytes.</summary>
    public long ByteLength { get; }

    /// <summary>A tensor of bytes as they will be stored (row-major, little endian).</summary>
    /// <exception cref="CheckpointException">The length does not match the shape.</exception>
    public static TensorData FromBytes(string name, StoredType type, ReadOnlySpan<long> shape, ReadOnlyMemory<byte> bytes)
        => new TensorData(name, type, shape, stream => stream.Write(bytes.Span)).CheckLength(bytes.Length);

    /// <summary>A tensor of single-precision values, rounded to nearest even on the way when <paramref name="type"/> is F16 or BF16.</summary>
    /// <exception cref="CheckpointException">Not a floating-point type of at most 32 bits, or the length does not match the shape.</exception>
    public static TensorData FromSingle(string name, ReadOnlySpan<long> shape, ReadOnlyMemory<float> values, StoredType type = StoredType.Float32)
    {
        Action<Stream> write = type switch
        {
            StoredType.Float32 => stream => WriteAs<float>(stream, values, static x => x),
            StoredType.Float16 => stream => WriteAs<Half>(stream, values, static x => (Half)x),
            StoredType.BFloat16 => stream => WriteAs<ushort>(stream, values, ToBFloat16),
            _ => throw new CheckpointException($"single-precision values cannot be saved as {type.Tag()}", key: name),
        };
        return new TensorData(name, type, shape, write).CheckLength((long)values.Length * type.SizeInBytes());
    }

    /// <summary>A tensor of 64-bit integers.</summary>
    /// <exception cref="CheckpointException">The length does not match the shape.</exception>
    public static TensorData FromInt64(string name, ReadOnlySpan<long> shape, ReadOnlyMemory<long> values)
        => new TensorData(name, StoredType.Int64, shape, stream => stream.Write(MemoryMarshal.AsBytes(values.Span)))
            .CheckLength((long)values.Length * sizeof(long));

    /// <summary>Writes the bytes.</summary>
    internal void WriteTo(Stream stream) => _write(stream);

    private static void WriteAs<T>(Stream stream, ReadOnlyMemory<float> values, Func<float, T> convert)
        where T : unmanaged
    {
        var block = new T[Math.Min(BlockElements, values.Length)];
        for (var start = 0; start < values.Length; start += block.Length)
        {
            var part = values.Span[start..Math.Min(start + block.Length, values.Length)];
            for (var i = 0; i < part.Length; i++)
            {
                block[i] = convert(part[i]);
            }

            stream.Write(MemoryMarshal.AsBytes(block.AsSpan(0, part.Length)));
        }
    }

    private static ushort ToBFloat16(float value)
    {
        var bits = BitConverter.SingleToUInt32Bits(value);
        if (float.IsNaN(value))
        {
            return (ushort)((bits >> 16) | 0x40);
        }

        return (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    private TensorData CheckLength(long bytes) => bytes == ByteLength
        ? this
        : throw new CheckpointException($"{bytes} bytes were given for {ByteLength} of shape [{string.Join(", ", Shape)}]", key: Name);
}
