namespace Fla.Vulkan;

/// <summary>Base of every error that this library raises by itself.</summary>
public class FlaException : Exception
{
    /// <summary>An error with a message.</summary>
    public FlaException(string message) : base(message) { }

    /// <summary>An error with a message and what caused it.</summary>
    public FlaException(string message, Exception inner) : base(message, inner) { }
}

/// <summary>A tensor's shape, or a size argument, does not fit the operation.</summary>
public sealed class ShapeException(string message) : FlaException(message);

/// <summary>A tensor's element type does not fit the operation.</summary>
public sealed class DTypeException(string message) : FlaException(message);

/// <summary>A token id or a row number names nothing.</summary>
public sealed class IndexException(string message) : FlaException(message);

/// <summary>No usable device, a device that lacks what is needed, or tensors of different devices in one operation.</summary>
public sealed class DeviceException(string message) : FlaException(message);

/// <summary>A shader, or a variant of it, is not in this build, or does not match its declaration.</summary>
public sealed class ShaderException(string message) : FlaException(message);

/// <summary>A Vulkan call failed.</summary>
public sealed class VulkanException(string call, Silk.NET.Vulkan.Result result) : FlaException($"{call} answered {result}")
{
    /// <summary>What the driver answered.</summary>
    public Silk.NET.Vulkan.Result Result { get; } = result;
}

/// <summary>The device stopped answering: a crash, a reset, or a submission over the system's time limit. All its tensors are gone.</summary>
public sealed class DeviceLostException(string device, string during)
    : FlaException($"{device} was lost during {during}; dispose the device and everything on it")
{
    /// <summary>Name of the device.</summary>
    public string Device { get; } = device;
}

/// <summary>Device memory ran out.</summary>
public sealed class GpuOutOfMemoryException(string device, long requested, long held, long used, long free)
    : FlaException($"{device}: out of memory: {requested:N0} bytes asked for, {held:N0} held by the allocator ({used:N0} in tensors), {free:N0} free on the device")
{
    /// <summary>Bytes asked for.</summary>
    public long Requested { get; } = requested;

    /// <summary>Bytes that the allocator holds.</summary>
    public long Held { get; } = held;

    /// <summary>Bytes of the held ones that tensors use.</summary>
    public long Used { get; } = used;

    /// <summary>Bytes free on the device by its memory budget, -1 when the driver does not tell.</summary>
    public long Free { get; } = free;
}

/// <summary>Something was done during the capture of a command graph that cannot be replayed, such as reading a tensor back.</summary>
public sealed class CaptureException(string message) : FlaException(message);

/// <summary>An operation on tensors and gradients that the tape cannot carry out.</summary>
public sealed class AutogradException(string message) : FlaException(message);

/// <summary>A file of tile choices cannot be read or written, or names choices that a kernel cannot run with.</summary>
public sealed class TileFileException : FlaException
{
    /// <summary>An error with a message.</summary>
    public TileFileException(string message) : base(message) { }

    /// <summary>An error with a message and what caused it.</summary>
    public TileFileException(string message, Exception inner) : base(message, inner) { }
}

/// <summary>A sentinel beside an allocation was overwritten: a kernel wrote out of bounds.</summary>
public sealed class MemoryCorruptionException(string message) : FlaException(message);
