using Silk.NET.Vulkan;

namespace Fla.Vulkan;

/// <summary>
/// A captured sequence of work that replays with one submission: a decode step, a training step. It holds the memory that was made while it was
/// captured, and keeps alive every tensor that it touches; new inputs are copied into those tensors before a replay.
/// </summary>
public sealed class CommandGraph : IDisposable
{
    private readonly ComputeStream _stream;
    private readonly HashSet<Storage> _retained = [];

    internal CommandGraph(ComputeDevice device, ComputeStream stream, MemoryPool pool)
    {
        _stream = stream;
        Device = device;
        Pool = pool;
    }

    /// <summary>Where it runs.</summary>
    public ComputeDevice Device { get; }

    /// <summary>Command buffers of the graph: long ones are split so that no submission nears a watchdog's limit.</summary>
    public int Batches => Buffers.Count;

    internal MemoryPool Pool { get; }

    internal List<CommandBuffer> Buffers { get; } = [];

    internal List<MemoryBlock> Arguments { get; } = [];

    internal ulong ArgumentsUsed { get; set; }

    internal bool IsDisposed { get; private set; }

    /// <summary>Runs the captured work once, after all that was recorded before; does not wait.</summary>
    public void Replay()
    {
        ObjectDisposedException.ThrowIf(IsDisposed, this);
        _stream.Replay(this);
    }

    /// <summary>Waits for the device, and lets go of the commands and the memory.</summary>
    public void Dispose()
    {
        if (IsDisposed) return;
        IsDisposed = true;
        _stream.Forget(this);
        foreach (var storage in _retained) storage.Release();
        _retained.Clear();
        foreach (var block in Arguments) block.Destroy();
        Pool.Orphan();
    }

    internal void Retain(Storage storage)
    {
        if (storage.Pool != Pool && _retained.Add(storage)) storage.Retain();
    }
}
