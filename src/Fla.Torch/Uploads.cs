using Fla.Vulkan;
using TorchSharp;
using DeviceTensor = Fla.Vulkan.Tensor;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch;

/// <summary>
/// Tensors on their way to a device. The device may read large ones from TorchSharp's own memory while this call goes on, so they are held until it is
/// disposed, which waits for the device.
/// </summary>
internal sealed class Uploads(ComputeDevice device) : IDisposable
{
    private readonly List<Tensor> _held = [];

    /// <summary>A tensor's values on the device; strides are flattened on the way.</summary>
    /// <exception cref="DTypeException">The device has no such type.</exception>
    /// <exception cref="DeviceException">The tensor is not in the CPU's memory.</exception>
    public DeviceTensor Copy(Tensor source)
    {
        var shape = Array.ConvertAll(source.shape, size => checked((int)size));
        var tensor = DeviceTensor.Empty(device, Crossing.TypeOf(source.dtype), shape);
        Copy(source, tensor);
        return tensor;
    }

    /// <summary>Overwrites a device tensor with a tensor's values.</summary>
    public void Copy(Tensor source, DeviceTensor target)
    {
        if (source.device_type != DeviceType.CPU) throw new DeviceException($"a tensor on {source.device} was given: Vulkan and TorchSharp share the CPU's memory only, move it with .cpu()");
        if (target.Count == 0) return;
        using var grad = torch.no_grad();
        var dense = source.contiguous().DetachFromDisposeScope();
        var isLarge = target.ByteCount >= HostImport.Threshold;
        if (isLarge) _held.Add(dense);
        target.WriteBytes(dense.bytes, isHeld: isLarge);
        if (!isLarge) dense.Dispose();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_held.Count > 0) device.Synchronize();
        foreach (var tensor in _held) tensor.Dispose();
        _held.Clear();
    }
}
