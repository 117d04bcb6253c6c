namespace Fla.Models.Checkpoints;

/// <summary>What a safetensors header says of one tensor; validated, so that its numbers agree with each other and with the file.</summary>
public sealed class TensorInfo
{
    internal TensorInfo(string name, StoredType type, long[] shape, long elementCount, long offset)
    {
        Name = name;
        Type = type;
        Shape = shape;
        ElementCount = elementCount;
        Offset = offset;
    }

    /// <summary>State-dict key.</summary>
    public string Name { get; }

    /// <summary>Element type.</summary>
    public StoredType Type { get; }

    /// <summary>Sizes of the axes, outermost first; empty for a scalar.</summary>
    public IReadOnlyList<long> Shape { get; }

    /// <summary>Number of elements, the product of <see cref="Shape"/>.</summary>
    public long ElementCount { get; }

    /// <summary>Number of bytes.</summary>
    public long ByteLength => ElementCount * Type.SizeInBytes();

    /// <summary>First byte, counted from the end of the header.</summary>
    internal long Offset { get; }
}
