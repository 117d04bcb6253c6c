using System.Runtime.InteropServices;
using Silk.NET.Vulkan;

namespace Fla.Vulkan;

public sealed unsafe partial class ComputeStream
{
    private const ulong ArgumentBlockSize = 256 << 10;
    private const ulong ArgumentAlignment = 16;

    private readonly List<CommandGraph> _graphs = [];
    private CommandGraph? _capture;

    /// <summary>True between the begin and the end of a capture.</summary>
    public bool IsCapturing => _capture != null;

    /// <summary>Where fresh tensors come from: the graph's own pool during a capture.</summary>
    internal MemoryPool AllocationPool => _capture?.Pool ?? _rehearsal?.Pool ?? _device.Pool;

    /// <summary>Records what <paramref name="work"/> does, without running it, as a graph that can be replayed.</summary>
    /// <param name="work">Operators on tensors; it may not upload, read back or wait. Tensors it leaves alive are the graph's outputs.</param>
    /// <returns>The graph; dispose it when it is no longer needed.</returns>
    /// <exception cref="CaptureException">A capture is under way, or the work did what cannot be replayed.</exception>
    public CommandGraph Capture(Action work)
    {
        lock (_device.Gate)
        {
            if (IsCapturing) throw new CaptureException("a capture is already under way");
            if (_profile != null) throw new CaptureException("a profile is under way: profile the work itself instead of its capture");
            Flush();
            var graph = new CommandGraph(_device, this, _rehearsal?.NewPool() ?? _device.NewPool("graph"));
            _graphs.Add(graph);
            _capture = graph;
            try
            {
                work();
                SealCaptureBatch();
            }
            catch
            {
                (_capture, _continuesBatch) = (null, false);
                if (_current.Handle != 0)
                {
                    _api.EndCommandBuffer(_current);
                    graph.Buffers.Add(_current);
                    _current = default;
                }
                graph.Dispose();
                throw;
            }
            (_capture, _continuesBatch) = (null, false);
            return graph;
        }
    }

    /// <summary>Runs work that the capture under way needs but that is no part of it, such as an upload of constants: now, and once.</summary>
    internal T OutsideCapture<T>(Func<T> work)
    {
        lock (_device.Gate)
        {
            if (_capture is not { } graph) return work();
            SealCaptureBatch();
            (_capture, _continuesBatch) = (null, false);
            try
            {
                var result = work();
                Flush();
                return result;
            }
            finally
            {
                _capture = graph;
            }
        }
    }

    internal void Replay(CommandGraph graph)
    {
        lock (_device.Gate)
        {
            if (IsCapturing) throw new CaptureException("a graph cannot be replayed inside a capture");
            if (IsRehearsing) return;
            Flush();
            Submit(CollectionsMarshal.AsSpan(graph.Buffers));
        }
    }

    internal void Forget(CommandGraph graph)
    {
        lock (_device.Gate)
        {
            if (!_device.IsLost && !IsCapturing) Wait(_submitted);
            _graphs.Remove(graph);
            foreach (var commands in graph.Buffers) _api.FreeCommandBuffers(_device.Handle, _commands, 1, in commands);
        }
    }

    private void SealCaptureBatch()
    {
        if (_current.Handle == 0) return;
        _device.Check(_api.EndCommandBuffer(_current), "vkEndCommandBuffer");
        _capture!.Buffers.Add(_current);
        _current = default;
    }

    /// <summary>Puts an argument block of over 128 bytes where the device reads it: in the staging ring, or with the graph.</summary>
    private ulong StoreArguments(ReadOnlySpan<byte> args)
    {
        if (_capture is not { } graph)
        {
            var range = _staging.Take(args.Length, _submitted + 1, Poll());
            args.CopyTo(range.Mapped);
            return range.Block.Address + range.Offset;
        }
        if (graph.Arguments.Count == 0 || graph.ArgumentsUsed + (ulong)args.Length > ArgumentBlockSize)
        {
            graph.Arguments.Add(MemoryBlock.TryCreate(_device, ArgumentBlockSize, _device.HostMemoryType, isMapped: true, "graph arguments")
                ?? throw new GpuOutOfMemoryException(_device.Name, (long)ArgumentBlockSize, _device.Memory.Held, _device.Memory.Used, _device.FreeMemory));
            graph.ArgumentsUsed = 0;
        }
        var block = graph.Arguments[^1];
        var offset = graph.ArgumentsUsed;
        args.CopyTo(new Span<byte>(block.Mapped + offset, args.Length));
        graph.ArgumentsUsed = (offset + (ulong)args.Length + ArgumentAlignment - 1) / ArgumentAlignment * ArgumentAlignment;
        return block.Address + offset;
    }
}
