using Silk.NET.Vulkan;

namespace Fla.Vulkan;

/// <summary>
/// Small results of work that repeats, such as a training step, which the host reads late: each repetition copies its numbers to a slot in host memory and
/// notes when the device began and ended it, and nobody waits.
/// </summary>
public sealed unsafe class ResultRing : IDisposable
{
    private readonly ComputeDevice _device;
    private readonly MemoryBlock _memory;
    private readonly QueryPool _queries;
    private readonly int _size;
    private readonly ulong[] _submissions;

    /// <summary>A ring.</summary>
    /// <param name="device">Whose stream does the work.</param>
    /// <param name="slots">Repetitions of which the ring holds the results.</param>
    /// <param name="size">f32 numbers of a result.</param>
    /// <exception cref="GpuOutOfMemoryException">There is no host memory left.</exception>
    public ResultRing(ComputeDevice device, int slots, int size)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(slots);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(size);
        _device = device;
        _size = size;
        _submissions = new ulong[slots];
        var bytes = (ulong)(slots * size * sizeof(float));
        _memory = MemoryBlock.TryCreate(device, bytes, device.HostMemoryType, isMapped: true, "results")
            ?? throw new GpuOutOfMemoryException(device.Name, (long)bytes, device.Memory.Held, device.Memory.Used, device.FreeMemory);
        if (device.Limits.TimestampPeriod == 0) return;
        var info = new QueryPoolCreateInfo { SType = StructureType.QueryPoolCreateInfo, QueryType = QueryType.Timestamp, QueryCount = (uint)(2 * slots) };
        QueryPool queries;
        device.Check(device.Api.CreateQueryPool(device.Handle, &info, null, &queries), "vkCreateQueryPool");
        _queries = queries;
    }

    /// <summary>Slots.</summary>
    public int Count => _submissions.Length;

    /// <summary>The repetition begins here, in stream order.</summary>
    public void Begin(int slot)
    {
        if (_queries.Handle != 0) _device.Stream.WriteTime(_queries, (uint)(2 * slot));
    }

    /// <summary>The repetition ends here, in stream order; everything recorded is submitted.</summary>
    /// <param name="slot">The slot, free to be overwritten.</param>
    /// <param name="result">f32, of the ring's size.</param>
    /// <exception cref="ShapeException">Another size.</exception>
    /// <exception cref="DTypeException">Another type.</exception>
    public void End(int slot, Tensor result)
    {
        ArgumentNullException.ThrowIfNull(result);
        Require.Type(result, DType.Float32, nameof(result));
        Require.Shape(result, nameof(result), _size);
        result.CopyToHost(_memory, (ulong)(slot * _size * sizeof(float)));
        if (_queries.Handle != 0) _device.Stream.WriteTime(_queries, (uint)(2 * slot + 1));
        _device.Stream.Flush();
        _submissions[slot] = _device.Stream.Submitted;
    }

    /// <summary>True when the device has done the repetition; does not wait.</summary>
    public bool IsDone(int slot) => _device.Stream.IsDone(_submissions[slot]);

    /// <summary>Waits for a repetition, and not for what comes after it; then returns its numbers.</summary>
    public float[] Read(int slot)
    {
        _device.Stream.WaitFor(_submissions[slot]);
        return new ReadOnlySpan<float>(_memory.Mapped + slot * _size * sizeof(float), _size).ToArray();
    }

    /// <summary>When the device began and ended a repetition that is done, in seconds on its own clock; NaN where it has none.</summary>
    public (double Begin, double End) Times(int slot)
    {
        if (_queries.Handle == 0) return (double.NaN, double.NaN);
        var ticks = stackalloc ulong[2];
        _device.Check(_device.Api.GetQueryPoolResults(_device.Handle, _queries, (uint)(2 * slot), 2, 16, ticks, 8, QueryResultFlags.Result64Bit | QueryResultFlags.ResultWaitBit), "vkGetQueryPoolResults");
        var seconds = _device.Limits.TimestampPeriod * 1e-9;
        return (ticks[0] * seconds, ticks[1] * seconds);
    }

    /// <summary>Waits for the device, and lets go of the slots.</summary>
    public void Dispose()
    {
        if (_device.IsDisposed) return;
        if (!_device.IsLost) _device.Stream.Synchronize();
        _memory.Destroy();
        if (_queries.Handle != 0) _device.Api.DestroyQueryPool(_device.Handle, _queries, null);
    }
}
