using System.Runtime.InteropServices;

namespace Fla.Vulkan;

public sealed partial class Tensor
{
    /// <summary>A float tensor with the given values, rounded to nearest even for f16 and bf16.</summary>
    /// <param name="device">Where.</param>
    /// <param name="values">The elements, row-major.</param>
    /// <param name="shape">Sizes.</param>
    /// <param name="type">f32, f16 or bf16.</param>
    /// <exception cref="ShapeException">The number of values is not that of the shape.</exception>
    public static Tensor From(ComputeDevice device, ReadOnlySpan<float> values, ReadOnlySpan<int> shape, DType type = DType.Float32)
    {
        RequireCount(values.Length, shape);
        var tensor = Empty(device, type, shape);
        tensor.Write(values);
        return tensor;
    }

    /// <summary>An i32 tensor with the given values.</summary>
    /// <exception cref="ShapeException">The number of values is not that of the shape.</exception>
    public static Tensor FromInt32(ComputeDevice device, ReadOnlySpan<int> values, params ReadOnlySpan<int> shape)
    {
        RequireCount(values.Length, shape);
        var tensor = Empty(device, DType.Int32, shape);
        tensor.WriteBytes(MemoryMarshal.AsBytes(values));
        return tensor;
    }

    /// <summary>An i64 tensor with the given values.</summary>
    /// <exception cref="ShapeException">The number of values is not that of the shape.</exception>
    public static Tensor FromInt64(ComputeDevice device, ReadOnlySpan<long> values, params ReadOnlySpan<int> shape)
    {
        RequireCount(values.Length, shape);
        var tensor = Empty(device, DType.Int64, shape);
        tensor.WriteBytes(MemoryMarshal.AsBytes(values));
        return tensor;
    }

    /// <summary>A tensor with the given raw elements.</summary>
    /// <exception cref="ShapeException">The number of bytes is not that of the shape.</exception>
    public static Tensor FromBytes(ComputeDevice device, ReadOnlySpan<byte> bytes, DType type, params ReadOnlySpan<int> shape)
    {
        RequireCount(bytes.Length / type.Size(), shape);
        var tensor = Empty(device, type, shape);
        tensor.WriteBytes(bytes);
        return tensor;
    }

    /// <summary>Overwrites all elements of a float tensor, in stream order.</summary>
    /// <exception cref="ShapeException">The number of values is not that of the elements.</exception>
    public void Write(ReadOnlySpan<float> values)
    {
        RequireCount(values.Length, _shape);
        switch (DType)
        {
            case DType.Float32:
                WriteBytes(MemoryMarshal.AsBytes(values));
                break;
            case DType.Float16:
                var halves = new Half[values.Length];
                for (var i = 0; i < halves.Length; i++) halves[i] = (Half)values[i];
                WriteBytes(MemoryMarshal.AsBytes(halves.AsSpan()));
                break;
            case DType.BFloat16:
                var upper = new ushort[values.Length];
                for (var i = 0; i < upper.Length; i++) upper[i] = BFloat16Bits(values[i]);
                WriteBytes(MemoryMarshal.AsBytes(upper.AsSpan()));
                break;
            default:
                throw new DTypeException($"float values cannot be written to a tensor {Describe()}");
        }
    }

    /// <summary>Overwrites all elements of an i32 tensor, in stream order.</summary>
    /// <exception cref="ShapeException">The number of values is not that of the elements.</exception>
    public void Write(ReadOnlySpan<int> values)
    {
        RequireCount(values.Length, _shape);
        if (DType != DType.Int32) throw new DTypeException($"i32 values cannot be written to a tensor {Describe()}");
        WriteBytes(MemoryMarshal.AsBytes(values));
    }

    /// <summary>Overwrites all elements with raw bytes, in stream order.</summary>
    /// <exception cref="ShapeException">The number of bytes is not that of the elements.</exception>
    public void WriteBytes(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length != ByteCount) throw new ShapeException($"{bytes.Length} bytes were given for a tensor {Describe()} of {ByteCount}");
        Storage.Version++;
        Device.Stream.Upload(bytes, Storage, _offset);
    }

    /// <summary>Reads the raw elements, after all work recorded so far.</summary>
    public byte[] ToBytes()
    {
        var bytes = new byte[ByteCount];
        ReadBytes(bytes);
        return bytes;
    }

    /// <summary>Reads the raw elements into a buffer, after all work recorded so far.</summary>
    /// <exception cref="ShapeException">The buffer has another size than the elements.</exception>
    public void ReadBytes(Span<byte> bytes)
    {
        if (bytes.Length != ByteCount) throw new ShapeException($"{bytes.Length} bytes were given to read a tensor {Describe()} of {ByteCount}");
        if (bytes.Length > 0) Device.Stream.ReadBytes(Storage.Block, Storage.Offset + Storage.Lead + _offset, bytes);
    }

    /// <summary>Reads the raw elements of several tensors of one device, with one wait for all.</summary>
    /// <param name="tensors">What to read.</param>
    /// <param name="targets">Host memory for each, of its <see cref="ByteCount"/>, and the same as the device sees it if it does.</param>
    internal static void ReadBytes(IReadOnlyList<Tensor> tensors, IReadOnlyList<(nint Address, HostImport? Import)> targets)
    {
        var reads = new List<Readback>();
        for (var i = 0; i < tensors.Count; i++)
        {
            var storage = tensors[i].Storage;
            if (tensors[i].Count > 0) reads.Add(new(storage.Block, storage.Offset + storage.Lead + tensors[i]._offset, targets[i].Address, tensors[i].ByteCount) { Import = targets[i].Import });
        }
        if (reads.Count > 0) tensors[0].Device.Stream.ReadBytes(CollectionsMarshal.AsSpan(reads));
    }

    /// <summary>Records a copy of the elements to host memory, which holds them once the submission is done.</summary>
    internal void CopyToHost(MemoryBlock target, ulong offset) => Device.Stream.CopyToHost(Storage, _offset, (ulong)ByteCount, target, offset);

    /// <summary>Reads a float tensor, widening f16 and bf16, after all work recorded so far.</summary>
    /// <exception cref="DTypeException">The elements are integers.</exception>
    public float[] ToSingle()
    {
        if (!DType.IsFloat()) throw new DTypeException($"a tensor {Describe()} cannot be read as floats");
        var values = new float[Count];
        if (DType == DType.Float32)
        {
            ReadBytes(MemoryMarshal.AsBytes(values.AsSpan()));
            return values;
        }
        var bits = MemoryMarshal.Cast<byte, ushort>(ToBytes());
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = DType == DType.Float16 ? (float)BitConverter.UInt16BitsToHalf(bits[i]) : BitConverter.UInt32BitsToSingle((uint)bits[i] << 16);
        }
        return values;
    }

    /// <summary>Reads the one element of a float tensor.</summary>
    /// <exception cref="ShapeException">There is not exactly one element.</exception>
    public float Item() => Count == 1 ? ToSingle()[0] : throw new ShapeException($"a tensor {Describe()} has not one element");

    /// <summary>Reads an i32 tensor, after all work recorded so far.</summary>
    /// <exception cref="DTypeException">The elements are not i32.</exception>
    public int[] ToInt32()
    {
        if (DType != DType.Int32) throw new DTypeException($"a tensor {Describe()} cannot be read as i32");
        return MemoryMarshal.Cast<byte, int>(ToBytes()).ToArray();
    }

    /// <summary>Reads an integer tensor, after all work recorded so far.</summary>
    /// <exception cref="DTypeException">The elements are floats.</exception>
    public long[] ToInt64() => DType switch
    {
        DType.Int64 => MemoryMarshal.Cast<byte, long>(ToBytes()).ToArray(),
        DType.Int32 => Array.ConvertAll(ToInt32(), x => (long)x),
        _ => throw new DTypeException($"a tensor {Describe()} cannot be read as i64"),
    };

    internal static ushort BFloat16Bits(float value)
    {
        var bits = BitConverter.SingleToUInt32Bits(value);
        return float.IsNaN(value) ? (ushort)((bits >> 16) | 0x40) : (ushort)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    }

    private static void RequireCount(long count, ReadOnlySpan<int> shape)
    {
        if (count != CountOf(shape)) throw new ShapeException($"{count} values were given for the shape [{string.Join(", ", shape.ToArray())}]");
    }
}
