using Fla.Vulkan;
using TorchSharp;
using static TorchSharp.torch;
using DeviceTensor = Fla.Vulkan.Tensor;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch;

/// <summary>Tensors on their way between TorchSharp's memory and the device's: each crosses once a call, all results of a call in one wait.</summary>
internal static unsafe class Crossing
{
    /// <summary>The device's type of a TorchSharp type.</summary>
    /// <exception cref="DTypeException">The device has no such type.</exception>
    public static DType TypeOf(ScalarType type) => type switch
    {
        ScalarType.Float32 => DType.Float32,
        ScalarType.Float16 => DType.Float16,
        ScalarType.BFloat16 => DType.BFloat16,
        ScalarType.Int32 => DType.Int32,
        ScalarType.Int64 => DType.Int64,
        ScalarType.Float64 => throw new DTypeException("the device computes in fp32, not in fp64: convert the tensor with .to(float32)"),
        _ => throw new DTypeException($"the device has no {type}: float32, float16, bfloat16, int32 and int64 can cross"),
    };

    /// <summary>The TorchSharp type of a device type.</summary>
    public static ScalarType TypeOf(DType type) => type switch
    {
        DType.Float32 => ScalarType.Float32,
        DType.Float16 => ScalarType.Float16,
        DType.BFloat16 => ScalarType.BFloat16,
        DType.Int32 => ScalarType.Int32,
        DType.Int64 => ScalarType.Int64,
        _ => throw new ArgumentOutOfRangeException(nameof(type)),
    };

    /// <summary>The elements of an int32 or int64 tensor of one axis; null for null.</summary>
    /// <exception cref="ShapeException">Another number of axes, or a number that needs more than 32 bits.</exception>
    /// <exception cref="DTypeException">No integers.</exception>
    public static int[]? Integers(Tensor? tensor)
    {
        if (tensor is null) return null;
        if (tensor.dtype is not (ScalarType.Int32 or ScalarType.Int64)) throw new DTypeException($"cu_seqlens holds int32 or int64, not {tensor.dtype}");
        if (tensor.ndim != 1) throw new ShapeException($"cu_seqlens has one axis, not the shape [{string.Join(", ", tensor.shape)}]");
        using var wide = tensor.to(ScalarType.Int64);
        return Array.ConvertAll(wide.data<long>().ToArray(), value => value is >= 0 and <= int.MaxValue ? (int)value : throw new ShapeException($"cu_seqlens holds {value}"));
    }

    /// <summary>The values of device tensors of one device, as new tensors; waits once.</summary>
    public static Tensor[] Download(IReadOnlyList<DeviceTensor> sources)
    {
        using var grad = torch.no_grad();
        var results = new Tensor[sources.Count];
        var targets = new nint[sources.Count];
        for (var i = 0; i < results.Length; i++)
        {
            var shape = Array.ConvertAll(sources[i].Shape.ToArray(), size => (long)size);
            results[i] = torch.empty(shape, dtype: TypeOf(sources[i].DType));
            targets[i] = Address(results[i]);
        }
        Download(sources, targets);
        return results;
    }

    /// <summary>Overwrites a dense tensor with a device tensor's values.</summary>
    public static void Download(IReadOnlyList<DeviceTensor> sources, IReadOnlyList<Tensor> targets) => Download(sources, [.. targets.Select(Address)]);

    private static void Download(IReadOnlyList<DeviceTensor> sources, nint[] targets) => DeviceTensor.ReadBytes(sources, targets);

    private static nint Address(Tensor tensor)
    {
        if (tensor.numel() == 0) return 0;
        fixed (byte* p = tensor.bytes) return (nint)p;
    }

    private static int[] Shape(Tensor tensor) => Array.ConvertAll(tensor.shape, size => checked((int)size));
}
