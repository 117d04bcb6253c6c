using System.Diagnostics;

namespace Fla.Vulkan;

/// <summary>
/// An array in device memory: an element type, a shape, contiguous row-major elements. A tensor is a handle: several may share one
/// range of memory, which is given back when the last of them, and of the tape's uses, is gone.
/// </summary>
[DebuggerDisplay("{ToString(),nq}")]
public sealed partial class Tensor : IDisposable
{
    private readonly int[] _shape;
    private readonly ulong _offset;
    private Storage? _storage;
    private TensorScope? _scope;

    private Tensor(ComputeDevice device, DType type, int[] shape, Storage storage, ulong offset)
    {
        Device = device;
        DType = type;
        _shape = shape;
        _storage = storage;
        _offset = offset;
        Count = CountOf(shape);
        _scope = TensorScope.Current;
        _scope?.Add(this);
    }

    /// <summary>Where it lives.</summary>
    public ComputeDevice Device { get; }

    /// <summary>Element type.</summary>
    public DType DType { get; }

    /// <summary>Sizes of the axes.</summary>
    public ReadOnlySpan<int> Shape => _shape;

    /// <summary>Number of axes.</summary>
    public int Rank => _shape.Length;

    /// <summary>Number of elements.</summary>
    public long Count { get; }

    /// <summary>Bytes of all elements.</summary>
    public long ByteCount => Count * DType.Size();

    /// <summary>True after <see cref="Dispose"/>.</summary>
    public bool IsDisposed => _storage == null;

    /// <summary>Device address of the first element.</summary>
    /// <exception cref="ObjectDisposedException">The tensor was disposed.</exception>
    public ulong Address => Storage.Address + _offset;

    internal Storage Storage => _storage ?? throw new ObjectDisposedException(nameof(Tensor), $"a tensor {Describe()} was used after it was disposed");

    /// <summary>A tensor of unspecified content.</summary>
    /// <param name="device">Where.</param>
    /// <param name="type">Element type.</param>
    /// <param name="shape">Sizes; none for a scalar.</param>
    /// <exception cref="ShapeException">A size is negative or the element count overflows.</exception>
    /// <exception cref="GpuOutOfMemoryException">The memory is not there.</exception>
    public static Tensor Empty(ComputeDevice device, DType type, params ReadOnlySpan<int> shape)
    {
        ObjectDisposedException.ThrowIf(device.IsDisposed, device);
        var sizes = shape.ToArray();
        var bytes = checked((ulong)(CountOf(sizes) * type.Size()));
        return new(device, type, sizes, device.Stream.AllocationPool.Allocate(bytes), 0);
    }

    /// <summary>A tensor of zeros.</summary>
    public static Tensor Zeros(ComputeDevice device, DType type, params ReadOnlySpan<int> shape)
    {
        var tensor = Empty(device, type, shape);
        tensor.Zero();
        return tensor;
    }

    /// <summary>A tensor with the same value everywhere.</summary>
    public static Tensor Full(ComputeDevice device, DType type, float value, params ReadOnlySpan<int> shape)
    {
        var tensor = Empty(device, type, shape);
        tensor.Fill(value);
        return tensor;
    }

    /// <summary>A tensor of unspecified content with the shape of another, and its type unless another is named.</summary>
    public static Tensor EmptyLike(Tensor other, DType? type = null) => Empty(other.Device, type ?? other.DType, other.Shape);

    /// <summary>A tensor of zeros with the shape of another, and its type unless another is named.</summary>
    public static Tensor ZerosLike(Tensor other, DType? type = null) => Zeros(other.Device, type ?? other.DType, other.Shape);

    /// <summary>Size of an axis; negative axes count from the end.</summary>
    /// <exception cref="ShapeException">There is no such axis.</exception>
    public int Size(int axis)
    {
        var i = axis < 0 ? axis + Rank : axis;
        return i >= 0 && i < Rank ? _shape[i] : throw new ShapeException($"a tensor {Describe()} has no axis {axis}");
    }

    /// <summary>Type and shape, such as "f16 [2, 70, 64]".</summary>
    public string Describe() => $"{DType.ShortName()} [{string.Join(", ", _shape)}]";

    /// <inheritdoc/>
    public override string ToString() => Describe() + (IsDisposed ? " (disposed)" : "");

    /// <summary>Another handle on the same elements, without the tape's history.</summary>
    public Tensor Detach() => new(Device, DType, _shape, Storage.Retain(), _offset);

    /// <summary>Gives this handle up.</summary>
    public void Dispose()
    {
        if (_storage is not { } storage) return;
        _storage = null;
        _scope?.Remove(this);
        _scope = null;
        ReleaseHistory();
        storage.Release();
    }

    internal void MoveTo(TensorScope? scope)
    {
        _scope = scope;
        scope?.Add(this);
    }

    /// <summary>Takes the tensor out of every scope: the caller owns it, and disposes it.</summary>
    /// <returns>The tensor.</returns>
    public Tensor Own()
    {
        _scope?.Remove(this);
        _scope = null;
        return this;
    }

    internal bool HasShape(ReadOnlySpan<int> shape) => shape.SequenceEqual(_shape);

    internal static long CountOf(ReadOnlySpan<int> shape)
    {
        long count = 1;
        foreach (var size in shape)
        {
            if (size < 0) throw new ShapeException($"sizes are not negative: [{string.Join(", ", shape.ToArray())}]");
            try { count = checked(count * size); }
            catch (OverflowException) { throw new ShapeException($"too many elements: [{string.Join(", ", shape.ToArray())}]"); }
        }
        return count;
    }
}
