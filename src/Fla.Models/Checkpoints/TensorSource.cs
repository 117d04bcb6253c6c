using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Fla.Models.Checkpoints;

/// <summary>
/// Named tensors on disk, read on demand: one safetensors file, or a whole checkpoint. Reading is thread-safe, and nothing is held in memory.
/// </summary>
public abstract class TensorSource : IDisposable
{
    private const int BlockBytes = 1 << 20;

    /// <summary>Where the tensors come from: the path of a file or folder, for messages.</summary>
    public abstract string Location { get; }

    /// <summary>All tensors by name.</summary>
    public abstract IReadOnlyDictionary<string, TensorInfo> Tensors { get; }

    /// <summary>Whether there is a tensor of this name.</summary>
    public bool Contains(string name) => Tensors.ContainsKey(name);

    /// <summary>What is known of a tensor.</summary>
    /// <exception cref="CheckpointException">There is no such tensor.</exception>
    public TensorInfo Info(string name)
        => Tensors.TryGetValue(name, out var info) ? info : throw new CheckpointException("not in the checkpoint", Location, name);

    /// <summary>Copies bytes of a tensor, as stored (little endian), starting <paramref name="offset"/> bytes into it.</summary>
    /// <exception cref="CheckpointException">No such tensor, a range outside it, or the file cannot be read.</exception>
    public void CopyTo(string name, long offset, Span<byte> destination)
    {
        var info = Info(name);
        if (offset < 0 || destination.Length > info.ByteLength - offset)
        {
            throw new CheckpointException(
                $"bytes {offset} to {offset + destination.Length} are outside its {info.ByteLength} bytes", Location, name);
        }

        Read(info, offset, destination);
    }

    /// <summary>All bytes of a tensor, as stored (little endian).</summary>
    /// <exception cref="CheckpointException">No such tensor, more than an array can hold, or the file cannot be read.</exception>
    public byte[] ReadBytes(string name)
    {
        var info = Info(name);
        var bytes = new byte[ArrayLength(info, info.ByteLength)];
        Read(info, 0, bytes);
        return bytes;
    }

    /// <summary>A floating-point tensor in row-major order; F16 and BF16 are widened exactly, F64 is rounded.</summary>
    /// <exception cref="CheckpointException">No such tensor, not a floating-point one, or the file cannot be read.</exception>
    public float[] ReadSingle(string name)
    {
        var info = Info(name);
        return info.Type switch
        {
            StoredType.Float32 => ReadAs<float, float>(info, static x => x),
            StoredType.Float16 => ReadAs<Half, float>(info, static x => (float)x),
            StoredType.BFloat16 => ReadAs<ushort, float>(info, static x => BitConverter.UInt32BitsToSingle((uint)x << 16)),
            StoredType.Float64 => ReadAs<double, float>(info, static x => (float)x),
            _ => throw WrongType(info, "a floating-point type"),
        };
    }

    /// <summary>An integer or boolean tensor in row-major order, widened.</summary>
    /// <exception cref="CheckpointException">No such tensor, a floating-point one, or the file cannot be read.</exception>
    public long[] ReadInt64(string name)
    {
        var info = Info(name);
        return info.Type switch
        {
            StoredType.Int64 => ReadAs<long, long>(info, static x => x),
            StoredType.Int32 => ReadAs<int, long>(info, static x => x),
            StoredType.Int16 => ReadAs<short, long>(info, static x => x),
            StoredType.Int8 => ReadAs<sbyte, long>(info, static x => x),
            StoredType.UInt8 or StoredType.Bool => ReadAs<byte, long>(info, static x => x),
            _ => throw WrongType(info, "an integer type"),
        };
    }

    /// <summary>An integer or boolean tensor in row-major order, as 32-bit integers.</summary>
    /// <exception cref="CheckpointException">
    /// No such tensor, a floating-point one, a value outside 32 bits, or the file cannot be read.
    /// </exception>
    public int[] ReadInt32(string name)
    {
        var info = Info(name);
        if (info.Type == StoredType.Int32)
        {
            return ReadAs<int, int>(info, static x => x);
        }

        return Array.ConvertAll(
            ReadInt64(name),
            x => x is >= int.MinValue and <= int.MaxValue ? (int)x : throw new CheckpointException($"holds {x}, outside 32 bits", Location, name));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Reads bytes of a tensor whose range was checked.</summary>
    internal abstract void Read(TensorInfo info, long offset, Span<byte> destination);

    /// <summary>Closes the files.</summary>
    protected abstract void Dispose(bool disposing);

    private TTo[] ReadAs<TFrom, TTo>(TensorInfo info, Func<TFrom, TTo> convert)
        where TFrom : unmanaged
        where TTo : unmanaged
    {
        var result = new TTo[ArrayLength(info, info.ElementCount)];
        if (typeof(TFrom) == typeof(TTo))
        {
            var remaining = (Span<TTo>)result;
            for (long offset = 0; remaining.Length > 0;)
            {
                var part = MemoryMarshal.AsBytes(remaining[..Math.Min(remaining.Length, BlockBytes)]);
                Read(info, offset, part);
                offset += part.Length;
                remaining = remaining[(part.Length / Unsafe.SizeOf<TTo>())..];
            }

            return result;
        }

        var block = new TFrom[Math.Min(result.Length, BlockBytes / Unsafe.SizeOf<TFrom>())];
        for (var done = 0; done < result.Length;)
        {
            var part = block.AsSpan(0, Math.Min(block.Length, result.Length - done));
            Read(info, (long)done * Unsafe.SizeOf<TFrom>(), MemoryMarshal.AsBytes(part));
            foreach (var value in part)
            {
                result[done++] = convert(value);
            }
        }

        return result;
    }

    private int ArrayLength(TensorInfo info, long count) => count <= Array.MaxLength
        ? (int)count
        : throw new CheckpointException($"its {count} elements or bytes are more than one array can hold", Location, info.Name);

    private CheckpointException WrongType(TensorInfo info, string wanted) => new($"is {info.Type.Tag()}, not {wanted}", Location, info.Name);
}
