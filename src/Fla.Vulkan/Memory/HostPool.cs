using System.Runtime.InteropServices;

namespace Fla.Vulkan;

/// <summary>
/// Host memory that results are left in: pinned once, where the device can write it itself, and taken back to be used again. Fresh memory costs more than the bus:
/// the system clears each page when it is first touched, and an import pins each.
/// </summary>
internal sealed class HostPool(ComputeDevice device)
{
    /// <summary>Bytes from which a range is worth it.</summary>
    public const long Least = 1 << 20;

    private readonly Lock _gate = new();
    private readonly List<HostRange> _free = [];
    private readonly HashSet<HostRange> _lent = [];
    private readonly long _limit = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 8;
    private bool _isClosed;

    /// <summary>Bytes lent or waiting.</summary>
    public long Held { get; private set; }

    /// <summary>Lends at least so many bytes; null when too many are lent already.</summary>
    public HostRange? Take(long size)
    {
        lock (_gate)
        {
            if (_isClosed) return null;
            var range = _free.Where(r => r.Size >= size && r.Size / 2 <= size).MinBy(r => r.Size);
            if (range != null) _free.Remove(range);
            else
            {
                // Those that wait longest first.
                for (; _free.Count > 0 && Held + size > _limit; _free.RemoveAt(0)) Destroy(_free[0]);
                if (Held + size > _limit) return null;
                range = new(device, this, size);
                Held += range.Size;
            }
            _lent.Add(range);
            return range;
        }
    }

    /// <summary>Takes a range back, from any thread.</summary>
    public void Give(HostRange range)
    {
        lock (_gate)
        {
            _lent.Remove(range);
            if (_isClosed) Destroy(range);
            else _free.Add(range);
        }
    }

    /// <summary>Gives what waits back to the system.</summary>
    public void Trim()
    {
        lock (_gate)
        {
            foreach (var range in _free) Destroy(range);
            _free.Clear();
        }
    }

    /// <summary>The device goes: what is lent stays memory until it is given back.</summary>
    public void Close()
    {
        lock (_gate)
        {
            _isClosed = true;
            Trim();
            foreach (var range in _lent) range.ReleaseImport();
        }
    }

    private void Destroy(HostRange range)
    {
        Held -= range.Size;
        range.ReleaseImport();
        range.Free();
    }
}

/// <summary>Whole pages of host memory, bound as device memory where the device takes them.</summary>
internal sealed unsafe class HostRange
{
    private const long Page = 4096;

    private readonly HostPool _owner;

    public HostRange(ComputeDevice device, HostPool owner, long size)
    {
        _owner = owner;
        var alignment = Math.Max((long)device.Limits.HostImportAlignment, Page);
        Size = (size + alignment - 1) / alignment * alignment;
        Address = (nint)NativeMemory.AlignedAlloc((nuint)Size, (nuint)alignment);
        if (device.Features.ExternalMemoryHost && !device.IsMemoryMapped) Import = HostImport.TryCreate(device, Address, (ulong)Size);
    }

    public nint Address { get; }

    public long Size { get; }

    /// <summary>The same memory as the device sees it; null where it does not.</summary>
    public HostImport? Import { get; private set; }

    /// <summary>Gives the range back.</summary>
    public void Give() => _owner.Give(this);

    public void ReleaseImport()
    {
        Import?.Dispose();
        Import = null;
    }

    public void Free() => NativeMemory.AlignedFree((void*)Address);
}
