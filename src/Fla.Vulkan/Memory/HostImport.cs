using Silk.NET.Vulkan;
using Buffer = Silk.NET.Vulkan.Buffer;

namespace Fla.Vulkan;

/// <summary>
/// Pinned host memory bound as device memory (VK_EXT_external_memory_host), so that the device reads a large upload, or writes
/// a large result, in place instead of through staging.
/// </summary>
internal sealed unsafe class HostImport : IDisposable
{
    /// <summary>Bytes from which an import costs less than the copy that it saves.</summary>
    public const long Threshold = 32 << 20;

    private readonly ComputeDevice _device;
    private readonly DeviceMemory _memory;

    private HostImport(ComputeDevice device, Buffer buffer, DeviceMemory memory, ulong offset) => (_device, Buffer, _memory, Offset) = (device, buffer, memory, offset);

    public Buffer Buffer { get; }

    /// <summary>Where the first byte asked for lies in the buffer.</summary>
    public ulong Offset { get; }

    /// <summary>Null when the driver does not take this memory; the caller then goes through staging.</summary>
    /// <param name="device">Who reads or writes.</param>
    /// <param name="start">First byte, pinned for as long as the import lives.</param>
    /// <param name="size">Bytes.</param>
    public static HostImport? TryCreate(ComputeDevice device, byte* start, ulong size)
    {
        // Whole pages are imported: those at both ends hold other data of this process, which nobody touches.
        var alignment = device.Limits.HostImportAlignment;
        var first = (ulong)start / alignment * alignment;
        var length = ((ulong)start + size - first + alignment - 1) / alignment * alignment;
        var api = device.Api;

        const ExternalMemoryHandleTypeFlags HostAllocation = ExternalMemoryHandleTypeFlags.HostAllocationBitExt;
        var query = (delegate* unmanaged<Device, ExternalMemoryHandleTypeFlags, void*, MemoryHostPointerPropertiesEXT*, Result>)device.DeviceProc("vkGetMemoryHostPointerPropertiesEXT");
        var properties = new MemoryHostPointerPropertiesEXT { SType = StructureType.MemoryHostPointerPropertiesExt };
        if (query(device.Handle, HostAllocation, (void*)first, &properties) != Result.Success || properties.MemoryTypeBits == 0) return null;

        var external = new ExternalMemoryBufferCreateInfo { SType = StructureType.ExternalMemoryBufferCreateInfo, HandleTypes = HostAllocation };
        var bufferInfo = new BufferCreateInfo { SType = StructureType.BufferCreateInfo, PNext = &external, Size = length, Usage = BufferUsageFlags.TransferSrcBit | BufferUsageFlags.TransferDstBit };
        Buffer buffer;
        if (api.CreateBuffer(device.Handle, &bufferInfo, null, &buffer) != Result.Success) return null;
        MemoryRequirements need;
        api.GetBufferMemoryRequirements(device.Handle, buffer, &need);
        var types = need.MemoryTypeBits & properties.MemoryTypeBits;
        var import = new ImportMemoryHostPointerInfoEXT { SType = StructureType.ImportMemoryHostPointerInfoExt, HandleType = HostAllocation, PHostPointer = (void*)first };
        var allocate = new MemoryAllocateInfo
        {
            SType = StructureType.MemoryAllocateInfo, PNext = &import, AllocationSize = length, MemoryTypeIndex = (uint)System.Numerics.BitOperations.TrailingZeroCount(types),
        };
        DeviceMemory memory = default;
        if (types == 0 || need.Size > length || api.AllocateMemory(device.Handle, &allocate, null, &memory) != Result.Success)
        {
            api.DestroyBuffer(device.Handle, buffer, null);
            return null;
        }
        var result = new HostImport(device, buffer, memory, (ulong)start - first);
        if (api.BindBufferMemory(device.Handle, buffer, memory, 0) == Result.Success) return result;
        result.Dispose();
        return null;
    }

    public void Dispose()
    {
        _device.Api.DestroyBuffer(_device.Handle, Buffer, null);
        _device.Api.FreeMemory(_device.Handle, _memory, null);
    }
}
