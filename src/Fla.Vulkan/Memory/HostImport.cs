using Silk.NET.Vulkan;
using Buffer = Silk.NET.Vulkan.Buffer;

namespace Fla.Vulkan;

/// <summary>
/// Whole pages of host memory bound as device memory (VK_EXT_external_memory_host), so that the device writes results in place instead of through staging.
/// </summary>
internal sealed unsafe class HostImport : IDisposable
{
    private readonly ComputeDevice _device;
    private readonly DeviceMemory _memory;

    private HostImport(ComputeDevice device, Buffer buffer, DeviceMemory memory) => (_device, Buffer, _memory) = (device, buffer, memory);

    public Buffer Buffer { get; }

    /// <summary>Null when the driver does not take this memory; results then go through staging.</summary>
    /// <param name="device">Who writes.</param>
    /// <param name="start">First byte, a multiple of <see cref="DeviceLimits.HostImportAlignment"/>; it stays where it is for as long as the import lives.</param>
    /// <param name="length">Bytes, a multiple too.</param>
    public static HostImport? TryCreate(ComputeDevice device, nint start, ulong length)
    {
        var api = device.Api;

        const ExternalMemoryHandleTypeFlags HostAllocation = ExternalMemoryHandleTypeFlags.HostAllocationBitExt;
        var query = (delegate* unmanaged<Device, ExternalMemoryHandleTypeFlags, void*, MemoryHostPointerPropertiesEXT*, Result>)device.DeviceProc("vkGetMemoryHostPointerPropertiesEXT");
        var properties = new MemoryHostPointerPropertiesEXT { SType = StructureType.MemoryHostPointerPropertiesExt };
        if (query(device.Handle, HostAllocation, (void*)start, &properties) != Result.Success || properties.MemoryTypeBits == 0) return null;

        var external = new ExternalMemoryBufferCreateInfo { SType = StructureType.ExternalMemoryBufferCreateInfo, HandleTypes = HostAllocation };
        var bufferInfo = new BufferCreateInfo { SType = StructureType.BufferCreateInfo, PNext = &external, Size = length, Usage = BufferUsageFlags.TransferSrcBit | BufferUsageFlags.TransferDstBit };
        Buffer buffer;
        if (api.CreateBuffer(device.Handle, &bufferInfo, null, &buffer) != Result.Success) return null;
        MemoryRequirements need;
        api.GetBufferMemoryRequirements(device.Handle, buffer, &need);
        var types = need.MemoryTypeBits & properties.MemoryTypeBits;
        var import = new ImportMemoryHostPointerInfoEXT { SType = StructureType.ImportMemoryHostPointerInfoExt, HandleType = HostAllocation, PHostPointer = (void*)start };
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
        var result = new HostImport(device, buffer, memory);
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
