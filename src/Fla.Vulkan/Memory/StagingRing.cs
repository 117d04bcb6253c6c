using Silk.NET.Vulkan;

namespace Fla.Vulkan;

/// <summary>Host-visible memory through which bytes cross: blocks taken in turn, each free again when the submission that used it is done.</summary>
internal sealed unsafe class StagingRing(ComputeDevice device) : IDisposable
{
    public const int ChunkSize = 8 << 20;
    private const ulong Alignment = 64;
    private const int MaxBlocks = 8;

    private readonly List<Entry> _blocks = [];

    /// <summary>True when so much is waiting that the caller should submit.</summary>
    public bool IsFull => _blocks.Count >= MaxBlocks && _blocks.All(b => b.Used > 0);

    public ref struct Range
    {
        public MemoryBlock Block;
        public ulong Offset;
        public Span<byte> Mapped;

        public readonly void Deconstruct(out MemoryBlock block, out ulong offset, out Span<byte> mapped)
        {
            block = Block;
            offset = Offset;
            mapped = Mapped;
        }
    }

    /// <summary>A range for a copy in the submission <paramref name="value"/>, when submissions up to <paramref name="done"/> are finished.</summary>
    public Range Take(int size, ulong value, ulong done)
    {
        foreach (var entry in _blocks)
        {
            if (entry.Value <= done) entry.Used = 0;
        }
        var free = _blocks.Find(e => e.Used + (ulong)size <= e.Block.Size);
        if (free == null)
        {
            var block = MemoryBlock.TryCreate(device, ChunkSize, device.HostMemoryType, isMapped: true, $"staging {_blocks.Count}")
                ?? throw new GpuOutOfMemoryException(device.Name, ChunkSize, device.Memory.Held, device.Memory.Used, device.FreeMemory);
            _blocks.Add(free = new(block));
        }
        var offset = free.Used;
        free.Used = (offset + (ulong)size + Alignment - 1) / Alignment * Alignment;
        free.Value = value;
        return new() { Block = free.Block, Offset = offset, Mapped = new Span<byte>(free.Block.Mapped + offset, size) };
    }

    public void Dispose()
    {
        foreach (var entry in _blocks) entry.Block.Destroy();
        _blocks.Clear();
    }

    private sealed class Entry(MemoryBlock block)
    {
        public MemoryBlock Block { get; } = block;

        public ulong Used { get; set; }

        public ulong Value { get; set; }
    }
}
