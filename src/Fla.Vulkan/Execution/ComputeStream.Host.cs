using Silk.NET.Vulkan;

namespace Fla.Vulkan;

/// <summary>Bytes of a block on their way to host memory.</summary>
internal readonly record struct Readback(MemoryBlock Block, ulong Offset, nint Target, long Size)
{
    /// <summary>The target as the device sees it, from its first byte; null when it is only the host's.</summary>
    public HostImport? Import { get; init; }
}

/// <summary>
/// The crossing between host and device: mapped memory where there is, pinned memory of <see cref="HostPool"/> for results, else staging. The caller's own pages are
/// never imported for one copy: pinning them takes longer than copying them (bench/NOTES.md).
/// </summary>
public sealed unsafe partial class ComputeStream
{
    /// <summary>Results staged in one batch: while the host empties a batch, the device fills the next.</summary>
    private const long StagedBatch = 3L * StagingRing.ChunkSize;

    /// <summary>Bytes uploaded since an upload was last submitted.</summary>
    private long _unsent;

    /// <summary>Copies host bytes to a storage, in stream order.</summary>
    /// <param name="bytes">What to copy.</param>
    /// <param name="target">Where to.</param>
    /// <param name="targetOffset">First byte there.</param>
    internal void Upload(ReadOnlySpan<byte> bytes, Storage target, ulong targetOffset)
    {
        lock (_device.Gate)
        {
            if (IsCapturing) throw new CaptureException("host data cannot be uploaded during a capture: upload it before, and copy to the same tensor before each replay");
            if (IsRehearsing) return;
            if (target.Block.Mapped != null && IsIdle())
            {
                fixed (byte* from = bytes) HostCopy.Run((nint)from, (nint)(target.Block.Mapped + target.Offset + target.Lead + targetOffset), bytes.Length);
                return;
            }
            while (bytes.Length > 0)
            {
                BeginRecording();
                var (block, offset, mapped) = _staging.Take(Math.Min(bytes.Length, StagingRing.ChunkSize), _submitted + 1, Poll());
                fixed (byte* from = bytes) HostCopy.Run((nint)from, (nint)(block.Mapped + offset), mapped.Length);
                Touch(target, Access.Write);
                FlushHazards();
                var region = new BufferCopy(offset, target.Offset + target.Lead + targetOffset, (ulong)mapped.Length);
                _api.CmdCopyBuffer(_current, block.Buffer, target.Block.Buffer, 1, &region);
                targetOffset += (ulong)mapped.Length;
                bytes = bytes[mapped.Length..];
                // The device takes each piece, of this upload or the next ones, while the host copies another.
                if ((_unsent += mapped.Length) < StagingRing.ChunkSize && !_staging.IsFull) continue;
                Flush();
                _unsent = 0;
            }
        }
    }

    /// <summary>Reads bytes of a block back, after everything recorded so far.</summary>
    internal void ReadBytes(MemoryBlock block, ulong offset, Span<byte> bytes)
    {
        fixed (byte* target = bytes) ReadBytes([new(block, offset, (nint)target, bytes.Length)]);
    }

    /// <summary>Reads several ranges back, after everything recorded so far, all copies under way before the first wait, as far as the staging memory holds them.</summary>
    internal void ReadBytes(ReadOnlySpan<Readback> reads)
    {
        lock (_device.Gate)
        {
            if (IsCapturing) throw new CaptureException("nothing can be read back during a capture: read after the replay");
            if (IsRehearsing)
            {
                foreach (var read in reads) System.Runtime.InteropServices.NativeMemory.Clear((void*)read.Target, (nuint)read.Size);
                return;
            }
            var staged = new StagedReads();
            foreach (var read in reads)
            {
                if (read.Block.Mapped != null) staged.Open.Add(((nint)(read.Block.Mapped + read.Offset), read));
                else if (read.Import is { } pinned)
                {
                    BeginRecording();
                    RecordRead(read, pinned.Buffer, 0);
                }
                else Stage(read, staged);
            }
            Submit(staged);
            while (staged.Flying.Count > 0) Empty(staged);
        }
    }

    private void Stage(Readback read, StagedReads staged)
    {
        while (read.Size > 0)
        {
            BeginRecording();
            // What the device has copied is still in use until the host has emptied it.
            var emptied = staged.Flying.TryPeek(out var oldest) ? Math.Min(Poll(), oldest.Value - 1) : Poll();
            var (staging, start, mapped) = _staging.Take((int)Math.Min(read.Size, StagingRing.ChunkSize), _submitted + 1, emptied);
            RecordRead(read with { Size = mapped.Length }, staging.Buffer, start);
            staged.Open.Add(((nint)(staging.Mapped + start), read with { Size = mapped.Length }));
            read = new(read.Block, read.Offset + (ulong)mapped.Length, read.Target + mapped.Length, read.Size - mapped.Length);
            if ((staged.OpenBytes += mapped.Length) < StagedBatch) continue;
            Submit(staged);
            if (staged.Flying.Count > 1) Empty(staged);
        }
    }

    private void RecordRead(Readback read, Silk.NET.Vulkan.Buffer target, ulong offset)
    {
        _hazards.Touch(read.Block.Address + read.Offset, (ulong)read.Size, Access.Read);
        FlushHazards();
        var region = new BufferCopy(read.Offset, offset, (ulong)read.Size);
        _api.CmdCopyBuffer(_current, read.Block.Buffer, target, 1, &region);
    }

    private void Submit(StagedReads staged)
    {
        BeginRecording();
        Barrier(WorkStages, AccessFlags2.MemoryWriteBit, PipelineStageFlags2.HostBit, AccessFlags2.HostReadBit);
        Flush();
        staged.Flying.Enqueue((_submitted, staged.Open));
        (staged.Open, staged.OpenBytes) = ([], 0);
    }

    /// <summary>Waits for the oldest batch, and copies it to its targets.</summary>
    private void Empty(StagedReads staged)
    {
        var (value, reads) = staged.Flying.Dequeue();
        Wait(value);
        foreach (var (from, to) in reads) HostCopy.Run(from, to.Target, to.Size);
    }

    /// <summary>Whether nothing is recorded or running, so that the host may write where the device could have been reading.</summary>
    private bool IsIdle() => _current.Handle == 0 && _submitted == (_submitted == 0 ? 0 : Poll());

    /// <summary>Results on their way through staging: the batch that is being recorded, and those that are submitted.</summary>
    private sealed class StagedReads
    {
        public List<(nint From, Readback To)> Open { get; set; } = [];

        public long OpenBytes { get; set; }

        public Queue<(ulong Value, List<(nint From, Readback To)> Reads)> Flying { get; } = new();
    }
}
