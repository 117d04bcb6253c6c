namespace Fla.Vulkan;

/// <summary>A range of device memory, shared by the tensor handles and tape entries that refer to it and given back with the last of them.</summary>
internal sealed class Storage
{
    private int _references = 1;

    public required MemoryPool Pool { get; init; }

    public required MemoryBlock Block { get; init; }

    /// <summary>Start of the reserved range in the block, sentinel included.</summary>
    public required ulong Offset { get; init; }

    /// <summary>Bytes reserved in the block, sentinels included.</summary>
    public required ulong Reserved { get; init; }

    /// <summary>Bytes before the payload.</summary>
    public required ulong Lead { get; init; }

    /// <summary>Bytes of payload.</summary>
    public required ulong Size { get; init; }

    /// <summary>Device address of the payload.</summary>
    public ulong Address => Block.Address + Offset + Lead;

    /// <summary>Raised by every in-place write from outside the tape, so that backward can refuse a changed saved tensor.</summary>
    public int Version { get; set; }

    /// <summary>True when more than one handle refers to it.</summary>
    public bool IsShared => Volatile.Read(ref _references) > 1;

    public Storage Retain()
    {
        if (Interlocked.Increment(ref _references) <= 1)
        {
            Interlocked.Decrement(ref _references);
            throw new ObjectDisposedException(nameof(Tensor), "the tensor's memory was already given back");
        }
        return this;
    }

    public void Release()
    {
        if (Interlocked.Decrement(ref _references) == 0) Pool.Free(this);
    }
}
