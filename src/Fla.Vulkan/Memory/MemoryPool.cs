using System.Runtime.InteropServices;
using Silk.NET.Vulkan;

namespace Fla.Vulkan;

/// <summary>
/// A caching allocator over large blocks. Freed ranges are reused at once: everything on a device runs on one queue in order, so what
/// reuses a range runs after what freed it, and the stream's hazard tracking puts the barrier between them.
/// </summary>
/// <param name="device">Whose memory.</param>
/// <param name="name">For debuggers.</param>
/// <param name="statistics">Where it is counted.</param>
/// <param name="isImagined">Whether the blocks are only thought of, for a rehearsal: there is no memory behind them.</param>
internal sealed unsafe class MemoryPool(ComputeDevice device, string name, MemoryStatistics statistics, bool isImagined = false)
{
    private const ulong Alignment = 256;
    private const ulong SentinelBytes = 256;
    private const byte SentinelByte = 0xA5;
    private const ulong SmallBlock = 32ul << 20;
    private const ulong LargeStep = 2ul << 20;

    private readonly List<MemoryBlock> _blocks = [];
    private bool _isOrphaned;

    /// <summary>Bytes held from the driver.</summary>
    public long Held { get; private set; }

    /// <summary>Bytes in use by storages.</summary>
    public long Used { get; private set; }

    /// <summary>Live storages.</summary>
    public int Count { get; private set; }

    public Storage Allocate(ulong size)
    {
        lock (device.Gate)
        {
            var lead = device.Options.PoisonMemory ? SentinelBytes : 0;
            var reserved = Align(Math.Max(size, 1)) + 2 * lead;
            var limit = Math.Min(device.Limits.MaxAllocation, device.Limits.MaxBuffer);
            if (reserved > limit || (!isImagined && device.Options.MemoryLimit > 0 && statistics.Used + (long)reserved > device.Options.MemoryLimit))
            {
                throw Full(size);
            }
            var storage = Place(size, reserved, lead);
            storage.Block.Add(storage);
            Used += (long)reserved;
            Count++;
            statistics.Raise((long)reserved);
            if (device.Options.PoisonMemory && !isImagined) Poison(storage);
            return storage;
        }
    }

    public void Free(Storage storage)
    {
        lock (device.Gate)
        {
            if (device.IsDisposed) return;
            if (device.Options.PoisonMemory && !isImagined) CheckSentinels(storage);
            storage.Block.Give(storage);
            Used -= (long)storage.Reserved;
            Count--;
            statistics.Raise(-(long)storage.Reserved);
            if (_isOrphaned && Count == 0) Destroy();
        }
    }

    public Storage? Find(ulong address)
    {
        foreach (var block in _blocks)
        {
            if (address >= block.Address && address < block.Address + block.Size) return block.Find(address);
        }
        return null;
    }

    /// <summary>Gives blocks without live storages back to the driver; the caller has made sure that the device is idle.</summary>
    public void Trim()
    {
        foreach (var block in _blocks.Where(b => b.LiveCount == 0).ToList()) Drop(block);
    }

    /// <summary>The owner is gone: the blocks go with the last storage.</summary>
    public void Orphan()
    {
        _isOrphaned = true;
        if (Count == 0) Destroy();
    }

    public void Destroy()
    {
        foreach (var block in _blocks.ToList()) Drop(block);
        device.Forget(this);
    }

    /// <summary>Throws when a sentinel of any live storage was overwritten.</summary>
    public void CheckSentinels()
    {
        foreach (var storage in _blocks.SelectMany(b => b.Live).ToList()) CheckSentinels(storage);
    }

    private Storage Place(ulong size, ulong reserved, ulong lead)
    {
        foreach (var block in _blocks)
        {
            if (block.TryTake(reserved, out var offset)) return new() { Pool = this, Block = block, Offset = offset, Reserved = reserved, Lead = lead, Size = size };
        }
        var blockSize = reserved <= SmallBlock / 2 ? SmallBlock : (reserved + LargeStep - 1) / LargeStep * LargeStep;
        blockSize = Math.Min(blockSize, Math.Min(device.Limits.MaxAllocation, device.Limits.MaxBuffer));
        var fresh = isImagined ? MemoryBlock.Imagine(device, blockSize)
            : MemoryBlock.TryCreate(device, blockSize, device.MemoryType, device.IsMemoryMapped, $"{name} block {_blocks.Count}");
        if (fresh == null)
        {
            device.Stream.Synchronize();
            device.TrimMemory();
            fresh = MemoryBlock.TryCreate(device, reserved, device.MemoryType, device.IsMemoryMapped, $"{name} block {_blocks.Count}") ?? throw Full(size);
        }
        _blocks.Add(fresh);
        Held += (long)fresh.Size;
        statistics.Hold();
        fresh.TryTake(reserved, out var start);
        return new() { Pool = this, Block = fresh, Offset = start, Reserved = reserved, Lead = lead, Size = size };
    }

    private void Drop(MemoryBlock block)
    {
        _blocks.Remove(block);
        Held -= (long)block.Size;
        block.Destroy();
    }

    private GpuOutOfMemoryException Full(ulong size) =>
        new(device.Name, (long)size, device.Memory.Held, device.Memory.Used, device.FreeMemory);

    private void Poison(Storage storage)
    {
        var start = storage.Offset;
        device.Stream.FillBytes(storage, start, SentinelBytes, SentinelByte);
        device.Stream.FillBytes(storage, start + SentinelBytes, Align(Math.Max(storage.Size, 1)), 0xFF);
        device.Stream.FillBytes(storage, start + storage.Reserved - SentinelBytes, SentinelBytes, SentinelByte);
    }

    private void CheckSentinels(Storage storage)
    {
        if (device.Stream.IsCapturing || device.IsLost) return;
        var bytes = new byte[2 * SentinelBytes];
        device.Stream.ReadBytes(storage.Block, storage.Offset, bytes.AsSpan(0, (int)SentinelBytes));
        device.Stream.ReadBytes(storage.Block, storage.Offset + storage.Reserved - SentinelBytes, bytes.AsSpan((int)SentinelBytes));
        var at = bytes.AsSpan().IndexOfAnyExcept(SentinelByte);
        if (at >= 0)
        {
            var where = at < (int)SentinelBytes ? $"{(int)SentinelBytes - at} bytes before" : $"{at - (int)SentinelBytes} bytes after the padded end of";
            throw new MemoryCorruptionException($"a kernel wrote {where} an allocation of {storage.Size} bytes");
        }
    }

    private static ulong Align(ulong size) => (size + Alignment - 1) / Alignment * Alignment;
}

/// <summary>Counts of a device's memory.</summary>
public sealed class MemoryStatistics
{
    private readonly Func<IReadOnlyList<MemoryPool>> _pools;

    internal MemoryStatistics(Func<IReadOnlyList<MemoryPool>> pools) => _pools = pools;

    /// <summary>Bytes that tensors use now, alignment included.</summary>
    public long Used { get; private set; }

    /// <summary>The most bytes that tensors used at once since <see cref="ResetPeak"/>.</summary>
    public long Peak { get; private set; }

    /// <summary>Bytes held from the driver, in use or cached.</summary>
    public long Held => _pools().Sum(p => p.Held);

    /// <summary>The most bytes held from the driver at once since <see cref="ResetPeak"/>.</summary>
    public long PeakHeld { get; private set; }

    /// <summary>Live allocations.</summary>
    public int Allocations => _pools().Sum(p => p.Count);

    /// <summary>Starts a new measurement of the peaks from what is used and held now.</summary>
    public void ResetPeak() => (Peak, PeakHeld) = (Used, Held);

    internal void Hold() => PeakHeld = Math.Max(PeakHeld, Held);

    internal void Raise(long bytes)
    {
        Used += bytes;
        Peak = Math.Max(Peak, Used);
    }
}
