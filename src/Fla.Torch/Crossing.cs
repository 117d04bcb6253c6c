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
        ScalarType.Float64 => throw new DTypeException("the device computes in fp32, and a float64 result would be one in its type alone: convert with .to(float32)"),
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

    /// <summary>A tensor's values on a device; strides are flattened on the way.</summary>
    /// <exception cref="DTypeException">The device has no such type.</exception>
    /// <exception cref="DeviceException">The tensor is not in the CPU's memory.</exception>
    public static DeviceTensor Upload(ComputeDevice device, Tensor source)
    {
        var tensor = DeviceTensor.Empty(device, TypeOf(source.dtype), Array.ConvertAll(source.shape, size => checked((int)size)));
        Upload(source, tensor);
        return tensor;
    }

    /// <summary>Overwrites a device tensor with a tensor's values.</summary>
    public static void Upload(Tensor source, DeviceTensor target)
    {
        if (source.device_type != DeviceType.CPU) throw new DeviceException($"a tensor on {source.device} was given: Vulkan and TorchSharp share the CPU's memory only, move it with .cpu()");
        if (target.Count == 0) return;
        using var grad = torch.no_grad();
        if (source.is_contiguous())
        {
            target.WriteBytes(source.bytes);
            return;
        }
        using var dense = Empty(target, isKept: false).Tensor;
        using var filled = dense.copy_(source);
        target.WriteBytes(filled.bytes);
    }

    /// <summary>The values of device tensors of one device, as new tensors; waits once.</summary>
    /// <param name="sources">Whose.</param>
    /// <param name="isKept">Whether they stay for long, as parameters do: then in memory of their own and not in the pool's.</param>
    public static Tensor[] Download(IReadOnlyList<DeviceTensor> sources, bool isKept = false)
    {
        using var grad = torch.no_grad();
        var results = new Tensor[sources.Count];
        var targets = new (nint Address, HostImport? Import)[sources.Count];
        for (var i = 0; i < results.Length; i++) (results[i], targets[i]) = Empty(sources[i], isKept);
        DeviceTensor.ReadBytes(sources, targets);
        return results;
    }

    /// <summary>A tensor of a device tensor's type and shape, and where its memory is.</summary>
    private static (Tensor Tensor, (nint Address, HostImport? Import) Memory) Empty(DeviceTensor like, bool isKept)
    {
        var shape = Array.ConvertAll(like.Shape.ToArray(), size => (long)size);
        if (!isKept && like.ByteCount >= HostPool.Least && like.Device.HostPool.Take(like.ByteCount) is { } range)
        {
            return (LentTensors.Make(range, shape, TypeOf(like.DType)), (range.Address, range.Import));
        }
        var result = torch.empty(shape, dtype: TypeOf(like.DType));
        fixed (byte* p = result.numel() == 0 ? [] : result.bytes) return (result, ((nint)p, null));
    }
}
