using System.Diagnostics;
using Silk.NET.Vulkan;
using Buffer = Silk.NET.Vulkan.Buffer;

namespace Fla.Vulkan;

/// <summary>
/// The order of work on a device: records dispatches and copies, puts a barrier where one touches what an earlier one wrote (or
/// writes what it read), submits in batches, and waits on a timeline semaphore.
/// </summary>
public sealed unsafe partial class ComputeStream : IDisposable
{
    /// <summary>Dispatches after which a batch is submitted: the device starts early, and no submission nears a watchdog's limit.</summary>
    private const int BatchSize = 64;

    /// <summary>How long a submission is asked after before the thread sleeps: to be woken up costs 50 us and more, which is much of a decoding step.</summary>
    private static readonly TimeSpan Polling = TimeSpan.FromMilliseconds(2);

    private const PipelineStageFlags2 WorkStages = PipelineStageFlags2.ComputeShaderBit | PipelineStageFlags2.AllTransferBit;

    private readonly ComputeDevice _device;
    private readonly Vk _api;
    private readonly CommandPool _commands;
    private Silk.NET.Vulkan.Semaphore _timeline;
    private readonly Queue<(CommandBuffer Commands, ulong Value)> _inFlight = new();
    private readonly Stack<CommandBuffer> _idle = new();
    private readonly HazardTracker _hazards = new();
    private readonly StagingRing _staging;
    private CommandBuffer _current;
    private Pipeline _bound;
    private int _recorded;
    private bool _hasTransfers;         // since the last full barrier
    private bool _hasNarrowBarrier;     // likewise
    private bool _continuesBatch;       // the next captured batch follows the last one of its graph, with the hazards that it left
    private ulong _submitted;
    private ulong _completed;

    internal ComputeStream(ComputeDevice device)
    {
        _device = device;
        _api = device.Api;
        var pool = new CommandPoolCreateInfo
        {
            SType = StructureType.CommandPoolCreateInfo, QueueFamilyIndex = device.Info.QueueFamily, Flags = CommandPoolCreateFlags.ResetCommandBufferBit,
        };
        CommandPool commands;
        device.Check(_api.CreateCommandPool(device.Handle, &pool, null, &commands), "vkCreateCommandPool");
        _commands = commands;
        _staging = new(device);
    }

    /// <summary>Dispatches recorded since the device was opened.</summary>
    public long Dispatches { get; private set; }

    /// <summary>Barriers recorded since the device was opened.</summary>
    public long Barriers { get; private set; }

    /// <summary>Submits what is recorded; does not wait.</summary>
    public void Flush()
    {
        lock (_device.Gate)
        {
            if (IsCapturing) throw new CaptureException("nothing can be submitted during a capture");
            if (IsRehearsing || _current.Handle == 0) return;
            _device.Check(_api.EndCommandBuffer(_current), "vkEndCommandBuffer");
            var commands = _current;
            _current = default;
            Submit([commands]);
            _inFlight.Enqueue((commands, _submitted));
            CollectProfile();
        }
    }

    /// <summary>Submits what is recorded and waits until the device has done it.</summary>
    /// <exception cref="DeviceLostException">The device stopped answering.</exception>
    public void Synchronize()
    {
        lock (_device.Gate)
        {
            if (IsCapturing) throw new CaptureException("the device cannot be waited for during a capture: nothing runs until the graph is replayed");
            if (IsRehearsing) return;
            Flush();
            Wait(_submitted);
        }
    }

    /// <summary>Waits for the device and destroys the stream's objects; the device does this.</summary>
    public void Dispose()
    {
        if (!_device.IsLost && !IsCapturing)
        {
            try { Synchronize(); }
            catch (DeviceLostException) { /* nothing runs any more: the objects can go */ }
        }
        foreach (var graph in _graphs.ToList()) graph.Dispose();
        DisposeProfiler();
        _staging.Dispose();
        if (_timeline.Handle != 0) _api.DestroySemaphore(_device.Handle, _timeline, null);
        _api.DestroyCommandPool(_device.Handle, _commands, null);
    }

    internal void Dispatch(ComputePipeline pipeline, ReadOnlySpan<byte> args, ArgumentLayout layout, Grid grid)
    {
        lock (_device.Gate)
        {
            ObjectDisposedException.ThrowIf(_device.IsDisposed, _device);
            BeginRecording();
            foreach (var (offset, access) in layout.Pointers)
            {
                var address = BitConverter.ToUInt64(args[offset..]);
                if (address == 0) continue;
                var storage = _device.Find(address)
                    ?? throw new InvalidOperationException($"{pipeline.Name}: the argument at byte {offset} points to no live tensor");
                Touch(storage, access);
            }
            FlushHazards(isDispatch: true);
            if (_bound.Handle != pipeline.Handle.Handle)
            {
                _api.CmdBindPipeline(_current, PipelineBindPoint.Compute, pipeline.Handle);
                _bound = pipeline.Handle;
            }
            if (args.Length <= PipelineStore.PushConstantBytes)
            {
                fixed (byte* p = args) _api.CmdPushConstants(_current, _device.Pipelines.Layout, ShaderStageFlags.ComputeBit, 0, (uint)args.Length, p);
            }
            else
            {
                var address = StoreArguments(args);
                _api.CmdPushConstants(_current, _device.Pipelines.Layout, ShaderStageFlags.ComputeBit, 0, 8, &address);
            }
            var query = BeginTimestamp(pipeline.Name);
            _api.CmdDispatch(_current, grid.X, grid.Y, grid.Z);
            EndTimestamp(query);
            Dispatches++;
            if (++_recorded >= BatchSize) EndBatch();
        }
    }

    /// <summary>Fills bytes of a storage's block, sentinels included; offset (in the block) and size are multiples of 4.</summary>
    internal void FillBytes(Storage storage, ulong offset, ulong size, byte value)
    {
        if (IsRehearsing) return;
        lock (_device.Gate)
        {
            BeginRecording();
            _hazards.Touch(storage.Block.Address + offset, size, Access.Write);
            _capture?.Retain(storage);
            FlushHazards();
            _api.CmdFillBuffer(_current, storage.Block.Buffer, offset, size, value * 0x01010101u);
        }
    }

    internal void CopyBytes(Storage source, ulong sourceOffset, Storage target, ulong targetOffset, ulong size)
    {
        if (size == 0 || IsRehearsing) return;
        lock (_device.Gate)
        {
            BeginRecording();
            Touch(source, Access.Read);
            Touch(target, Access.Write);
            FlushHazards();
            var region = new BufferCopy(source.Offset + source.Lead + sourceOffset, target.Offset + target.Lead + targetOffset, size);
            _api.CmdCopyBuffer(_current, source.Block.Buffer, target.Block.Buffer, 1, &region);
            if (++_recorded >= BatchSize) EndBatch();
        }
    }

    private void Touch(Storage storage, Access access)
    {
        _hazards.Touch(storage.Address, Math.Max(storage.Size, 1), access);
        _capture?.Retain(storage);
    }

    /// <summary>
    /// Puts a barrier before the next command if it needs one. Between dispatches a barrier is for their storage alone, which is far cheaper than one for everything on some
    /// devices; where copies and fills take part it is for them too.
    /// </summary>
    private void FlushHazards(bool isDispatch = false)
    {
        var isNeeded = _hazards.Resolve() || _profile != null;
        if (isDispatch && !_hasTransfers)
        {
            if (!isNeeded) return;
            Barrier(PipelineStageFlags2.ComputeShaderBit, AccessFlags2.ShaderStorageWriteBit, PipelineStageFlags2.ComputeShaderBit,
                AccessFlags2.ShaderStorageReadBit | AccessFlags2.ShaderStorageWriteBit);
            _hasNarrowBarrier = true;
            return;
        }
        // What dispatches see after such a barrier, copies do not.
        if (isNeeded || (!isDispatch && _hasNarrowBarrier)) FullBarrier();
        _hasTransfers |= !isDispatch;
    }

    private void FullBarrier()
    {
        Barrier(WorkStages, AccessFlags2.MemoryWriteBit, WorkStages, AccessFlags2.MemoryReadBit | AccessFlags2.MemoryWriteBit);
        _hasTransfers = _hasNarrowBarrier = false;
    }

    private void Barrier(PipelineStageFlags2 from, AccessFlags2 made, PipelineStageFlags2 to, AccessFlags2 seen)
    {
        var barrier = new MemoryBarrier2
        {
            SType = StructureType.MemoryBarrier2, SrcStageMask = from, SrcAccessMask = made, DstStageMask = to, DstAccessMask = seen,
        };
        var info = new DependencyInfo { SType = StructureType.DependencyInfo, MemoryBarrierCount = 1, PMemoryBarriers = &barrier };
        _api.CmdPipelineBarrier2(_current, &info);
        Barriers++;
    }

    private void BeginRecording()
    {
        if (_current.Handle != 0) return;
        _current = NewCommandBuffer(isReplayed: IsCapturing);
        _bound = default;
        _recorded = 0;
        if (!_continuesBatch)
        {
            // Whatever came before, in this stream's submissions, is finished and seen before this batch begins.
            _hazards.Clear();
            FullBarrier();
        }
        _continuesBatch = false;
        OpenProfileBatch();
    }

    private CommandBuffer NewCommandBuffer(bool isReplayed)
    {
        CommandBuffer commands;
        if (isReplayed || !_idle.TryPop(out commands))
        {
            var allocate = new CommandBufferAllocateInfo
            {
                SType = StructureType.CommandBufferAllocateInfo, CommandPool = _commands, Level = CommandBufferLevel.Primary, CommandBufferCount = 1,
            };
            _device.Check(_api.AllocateCommandBuffers(_device.Handle, &allocate, &commands), "vkAllocateCommandBuffers");
        }
        var begin = new CommandBufferBeginInfo
        {
            SType = StructureType.CommandBufferBeginInfo,
            Flags = isReplayed ? CommandBufferUsageFlags.SimultaneousUseBit : CommandBufferUsageFlags.OneTimeSubmitBit,
        };
        _device.Check(_api.BeginCommandBuffer(commands, &begin), "vkBeginCommandBuffer");
        return commands;
    }

    private void EndBatch()
    {
        if (!IsCapturing)
        {
            Flush();
            return;
        }
        SealCaptureBatch();
        _continuesBatch = true;
    }

    /// <summary>Made with the first submission: a device that only compiles has no timeline.</summary>
    private Silk.NET.Vulkan.Semaphore Timeline()
    {
        if (_timeline.Handle != 0) return _timeline;
        var type = new SemaphoreTypeCreateInfo { SType = StructureType.SemaphoreTypeCreateInfo, SemaphoreType = SemaphoreType.Timeline };
        var info = new SemaphoreCreateInfo { SType = StructureType.SemaphoreCreateInfo, PNext = &type };
        Silk.NET.Vulkan.Semaphore timeline;
        _device.Check(_api.CreateSemaphore(_device.Handle, &info, null, &timeline), "vkCreateSemaphore");
        return _timeline = timeline;
    }

    /// <summary>Submits command buffers together, each as a job of its own, so that none nears a watchdog's limit; the last one's end is the submission's.</summary>
    private void Submit(ReadOnlySpan<CommandBuffer> commands)
    {
        if (commands.IsEmpty) return;
        var buffers = stackalloc CommandBufferSubmitInfo[commands.Length];
        var jobs = stackalloc SubmitInfo2[commands.Length];
        for (var i = 0; i < commands.Length; i++)
        {
            buffers[i] = new() { SType = StructureType.CommandBufferSubmitInfo, CommandBuffer = commands[i] };
            jobs[i] = new() { SType = StructureType.SubmitInfo2, CommandBufferInfoCount = 1, PCommandBufferInfos = buffers + i };
        }
        var signal = new SemaphoreSubmitInfo
        {
            SType = StructureType.SemaphoreSubmitInfo, Semaphore = Timeline(), Value = _submitted + 1, StageMask = PipelineStageFlags2.AllCommandsBit,
        };
        var last = jobs + commands.Length - 1;
        last->SignalSemaphoreInfoCount = 1;
        last->PSignalSemaphoreInfos = &signal;
        _device.Check(_api.QueueSubmit2(_device.Queue, (uint)commands.Length, jobs, default), "vkQueueSubmit2");
        _submitted++;
    }

    /// <summary>The last submission that is known to be done.</summary>
    private ulong Poll()
    {
        ulong value;
        _device.Check(_api.GetSemaphoreCounterValue(_device.Handle, Timeline(), &value), "vkGetSemaphoreCounterValue");
        Complete(value);
        return value;
    }

    private void Wait(ulong value)
    {
        if (!_device.IsCpu)
        {
            var start = Stopwatch.GetTimestamp();
            while (_completed < value && Stopwatch.GetElapsedTime(start) < Polling) Poll();
        }
        if (_completed < value)
        {
            var semaphore = Timeline();
            var info = new SemaphoreWaitInfo { SType = StructureType.SemaphoreWaitInfo, SemaphoreCount = 1, PSemaphores = &semaphore, PValues = &value };
            _device.Check(_api.WaitSemaphores(_device.Handle, &info, ulong.MaxValue), "vkWaitSemaphores");
        }
        Complete(value);
    }

    private void Complete(ulong value)
    {
        _completed = Math.Max(_completed, value);
        while (_inFlight.TryPeek(out var first) && first.Value <= _completed)
        {
            _inFlight.Dequeue();
            _device.Check(_api.ResetCommandBuffer(first.Commands, 0), "vkResetCommandBuffer");
            _idle.Push(first.Commands);
        }
    }
}
