using Fla.Vulkan;

namespace Fla.Torch;

/// <summary>Where operators on TorchSharp tensors, and new modules, run: TorchSharp's tensors live in the CPU's memory and name no Vulkan device.</summary>
public static class TorchDevice
{
    private static readonly Lock Gate = new();
    private static ComputeDevice? _default;

    [ThreadStatic]
    private static ComputeDevice? _chosen;

    /// <summary>The device of all threads that chose no other: opened on first use, the best one there is unless FLA_DEVICE names another, or it is set.</summary>
    public static ComputeDevice Default
    {
        get
        {
            lock (Gate) return _default ??= ComputeDevice.Create();
        }
        set
        {
            lock (Gate) _default = value;
        }
    }

    /// <summary>The device of this thread.</summary>
    public static ComputeDevice Current => _chosen ?? Default;

    /// <summary>Makes a device that of this thread until the result is disposed.</summary>
    public static IDisposable Use(ComputeDevice device)
    {
        ArgumentNullException.ThrowIfNull(device);
        return new Choice(device);
    }

    private sealed class Choice : IDisposable
    {
        private readonly ComputeDevice? _before = _chosen;

        public Choice(ComputeDevice device) => _chosen = device;

        public void Dispose() => _chosen = _before;
    }
}
