using Silk.NET.Vulkan;
using Buffer = Silk.NET.Vulkan.Buffer;

namespace Fla.Vulkan;

/// <summary>One Vulkan allocation with one buffer over all of it, and the free ranges inside.</summary>
internal sealed unsafe class MemoryBlock
{
    /// <summary>Aligned for everything, and not null.</summary>
    private const ulong ImaginedAddress = 1ul << 40;

    private readonly ComputeDevice _device;
    private readonly DeviceMemory _memory;
    private readonly SortedList<ulong, ulong> _free = [];      // offset -> size
    private readonly SortedList<ulong, Storage> _live = [];    // offset -> storage

    public Buffer Buffer { get; }

    public ulong Address { get; }

    public ulong Size { get; }

    /// <summary>Host address of the block when its memory is host-visible, else null.</summary>
    public byte* Mapped { get; }

    public int LiveCount => _live.Count;

    public IEnumerable<Storage> Live => _live.Values;

    private MemoryBlock(ComputeDevice device, Buffer buffer, DeviceMemory memory, ulong size, byte* mapped, ulong address)
    {
        _device = device;
        Buffer = buffer;
        _memory = memory;
        Size = size;
        Mapped = mapped;
        Address = address;
        _free.Add(0, size);
    }

    /// <summary>A block with no memory behind it, for a rehearsal; nothing may be launched on it.</summary>
    public static MemoryBlock Imagine(ComputeDevice device, ulong size) => new(device, default, default, size, null, ImaginedAddress);

    /// <summary>Null when the device has no memory of the type left.</summary>
    public static MemoryBlock? TryCreate(ComputeDevice device, ulong size, uint memoryType, bool isMapped, string name)
    {
        var api = device.Api;
        var bufferInfo = new BufferCreateInfo
        {
            SType = StructureType.BufferCreateInfo,
            Size = size,
            Usage = BufferUsageFlags.StorageBufferBit | BufferUsageFlags.TransferSrcBit | BufferUsageFlags.TransferDstBit | BufferUsageFlags.ShaderDeviceAddressBit,
            SharingMode = SharingMode.Exclusive,
        };
        Buffer buffer;
        device.Check(api.CreateBuffer(device.Handle, &bufferInfo, null, &buffer), "vkCreateBuffer");
        MemoryRequirements need;
        api.GetBufferMemoryRequirements(device.Handle, buffer, &need);
        var flags = new MemoryAllocateFlagsInfo { SType = StructureType.MemoryAllocateFlagsInfo, Flags = MemoryAllocateFlags.DeviceAddressBit };
        var info = new MemoryAllocateInfo { SType = StructureType.MemoryAllocateInfo, PNext = &flags, AllocationSize = need.Size, MemoryTypeIndex = memoryType };
        DeviceMemory memory;
        var result = api.AllocateMemory(device.Handle, &info, null, &memory);
        if (result is Result.ErrorOutOfDeviceMemory or Result.ErrorOutOfHostMemory)
        {
            api.DestroyBuffer(device.Handle, buffer, null);
            return null;
        }
        device.Check(result, "vkAllocateMemory");
        device.Check(api.BindBufferMemory(device.Handle, buffer, memory, 0), "vkBindBufferMemory");
        void* mapped = null;
        if (isMapped) device.Check(api.MapMemory(device.Handle, memory, 0, size, 0, &mapped), "vkMapMemory");
        device.SetName(ObjectType.Buffer, buffer.Handle, name);
        var addressInfo = new BufferDeviceAddressInfo { SType = StructureType.BufferDeviceAddressInfo, Buffer = buffer };
        return new(device, buffer, memory, size, (byte*)mapped, api.GetBufferDeviceAddress(device.Handle, &addressInfo));
    }

    /// <summary>Takes the smallest free range that fits; false when none does.</summary>
    public bool TryTake(ulong size, out ulong offset)
    {
        var best = -1;
        for (var i = 0; i < _free.Count; i++)
        {
            if (_free.Values[i] >= size && (best < 0 || _free.Values[i] < _free.Values[best])) best = i;
        }
        offset = 0;
        if (best < 0) return false;
        offset = _free.Keys[best];
        var left = _free.Values[best] - size;
        _free.RemoveAt(best);
        if (left > 0) _free.Add(offset + size, left);
        return true;
    }

    public void Add(Storage storage) => _live.Add(storage.Offset, storage);

    public void Give(Storage storage)
    {
        _live.Remove(storage.Offset);
        var (start, size) = (storage.Offset, storage.Reserved);
        var next = IndexAtOrAfter(start);
        if (next < _free.Count && _free.Keys[next] == start + size)
        {
            size += _free.Values[next];
            _free.RemoveAt(next);
        }
        if (next > 0 && _free.Keys[next - 1] + _free.Values[next - 1] == start)
        {
            start = _free.Keys[next - 1];
            size += _free.Values[next - 1];
            _free.RemoveAt(next - 1);
        }
        _free.Add(start, size);
    }

    /// <summary>The live storage that holds the address, or null.</summary>
    public Storage? Find(ulong address)
    {
        var keys = _live.Keys;
        var (low, high) = (0, keys.Count - 1);
        while (low <= high)
        {
            var mid = (low + high) / 2;
            if (Address + keys[mid] <= address) low = mid + 1;
            else high = mid - 1;
        }
        if (high < 0) return null;
        var storage = _live.Values[high];
        return address < storage.Address + Math.Max(storage.Size, 1) ? storage : null;
    }

    public void Destroy()
    {
        if (Buffer.Handle == 0) return;
        _device.Api.DestroyBuffer(_device.Handle, Buffer, null);
        _device.Api.FreeMemory(_device.Handle, _memory, null);
    }

    private int IndexAtOrAfter(ulong offset)
    {
        var (low, high) = (0, _free.Count);
        while (low < high)
        {
            var mid = (low + high) / 2;
            if (_free.Keys[mid] < offset) low = mid + 1;
            else high = mid;
        }
        return low;
    }
}
