using Silk.NET.Vulkan;

namespace Fla.Vulkan;

/// <summary>Bytes of a block on their way to host memory.</summary>
internal readonly record struct Readback(MemoryBlock Block, ulong Offset, nint Target, long Size);

/// <summary>The crossing between host and device: mapped memory where there is, the caller's own pages where they are worth an import, else staging.</summary>
public sealed unsafe partial class ComputeStream
{
    /// <summary>Copies host bytes to a storage, in stream order.</summary>
    internal void Upload(ReadOnlySpan<byte> bytes, Storage target, ulong targetOffset)
    {
        lock (_device.Gate)
        {
            if (IsCapturing) throw new CaptureException("host data cannot be uploaded during a capture: upload it before, and copy to the same tensor before each replay");
            if (IsRehearsing) return;
            if (target.Block.Mapped != null && IsIdle())
            {
                bytes.CopyTo(new(target.Block.Mapped + target.Offset + target.Lead + targetOffset, bytes.Length));
                return;
            }
            if (bytes.Length >= HostImport.Threshold && _device.Features.ExternalMemoryHost && TryUploadInPlace(bytes, target, targetOffset)) return;
            while (bytes.Length > 0)
            {
                BeginRecording();
                var (block, offset, mapped) = _staging.Take(Math.Min(bytes.Length, StagingRing.ChunkSize), _submitted + 1, Poll());
                bytes[..mapped.Length].CopyTo(mapped);
                Touch(target, Access.Write);
                FlushHazards();
                var region = new BufferCopy(offset, target.Offset + target.Lead + targetOffset, (ulong)mapped.Length);
                _api.CmdCopyBuffer(_current, block.Buffer, target.Block.Buffer, 1, &region);
                targetOffset += (ulong)mapped.Length;
                bytes = bytes[mapped.Length..];
                if (_staging.IsFull) Flush();
            }
        }
    }

    /// <summary>Copies from the caller's own memory; waits, because that memory is the caller's again afterwards.</summary>
    private bool TryUploadInPlace(ReadOnlySpan<byte> bytes, Storage target, ulong targetOffset)
    {
        fixed (byte* start = bytes)
        {
            using var import = HostImport.TryCreate(_device, start, (ulong)bytes.Length);
            if (import == null) return false;
            BeginRecording();
            Touch(target, Access.Write);
            FlushHazards();
            var region = new BufferCopy(import.Offset, target.Offset + target.Lead + targetOffset, (ulong)bytes.Length);
            _api.CmdCopyBuffer(_current, import.Buffer, target.Block.Buffer, 1, &region);
            Synchronize();
            return true;
        }
    }

    /// <summary>Reads bytes of a block back, after everything recorded so far.</summary>
    internal void ReadBytes(MemoryBlock block, ulong offset, Span<byte> bytes)
    {
        fixed (byte* target = bytes) ReadBytes([new(block, offset, (nint)target, bytes.Length)]);
    }

    /// <summary>Reads several ranges back, after everything recorded so far, with one wait as long as the staging memory holds them.</summary>
    internal void ReadBytes(ReadOnlySpan<Readback> reads)
    {
        lock (_device.Gate)
        {
            if (IsCapturing) throw new CaptureException("nothing can be read back during a capture: read after the replay");
            if (IsRehearsing)
            {
                foreach (var read in reads) new Span<byte>((void*)read.Target, (int)read.Size).Clear();
                return;
            }
            var imports = new List<HostImport>();
            var staged = new List<(nint From, Readback To)>();
            try
            {
                foreach (var read in reads)
                {
                    if (read.Block.Mapped != null) staged.Add(((nint)(read.Block.Mapped + read.Offset), read));
                    else if (!TryReadInPlace(read, imports)) Stage(read, staged);
                }
                Finish(staged);
            }
            finally
            {
                foreach (var import in imports) import.Dispose();
            }
        }
    }

    private void Stage(Readback read, List<(nint From, Readback To)> staged)
    {
        while (read.Size > 0)
        {
            if (_staging.IsFull) Finish(staged);
            BeginRecording();
            var (staging, start, mapped) = _staging.Take((int)Math.Min(read.Size, StagingRing.ChunkSize), _submitted + 1, Poll());
            RecordRead(read with { Size = mapped.Length }, staging.Buffer, start);
            staged.Add(((nint)(staging.Mapped + start), read with { Size = mapped.Length }));
            read = new(read.Block, read.Offset + (ulong)mapped.Length, read.Target + mapped.Length, read.Size - mapped.Length);
        }
    }

    /// <summary>Lets the device write a large result into the caller's own memory; the import lives until the copy is done.</summary>
    private bool TryReadInPlace(Readback read, List<HostImport> imports)
    {
        if (read.Size < HostImport.Threshold || !_device.Features.ExternalMemoryHost) return false;
        if (HostImport.TryCreate(_device, (byte*)read.Target, (ulong)read.Size) is not { } import) return false;
        imports.Add(import);
        BeginRecording();
        RecordRead(read, import.Buffer, import.Offset);
        return true;
    }

    private void RecordRead(Readback read, Silk.NET.Vulkan.Buffer target, ulong offset)
    {
        _hazards.Touch(read.Block.Address + read.Offset, (ulong)read.Size, Access.Read);
        FlushHazards();
        var region = new BufferCopy(read.Offset, offset, (ulong)read.Size);
        _api.CmdCopyBuffer(_current, read.Block.Buffer, target, 1, &region);
    }

    /// <summary>Waits for the device, and empties what was staged.</summary>
    private void Finish(List<(nint From, Readback To)> staged)
    {
        BeginRecording();
        Barrier(WorkStages, AccessFlags2.MemoryWriteBit, PipelineStageFlags2.HostBit, AccessFlags2.HostReadBit);
        Synchronize();
        foreach (var (from, to) in staged) System.Buffer.MemoryCopy((void*)from, (void*)to.Target, to.Size, to.Size);
        staged.Clear();
    }

    /// <summary>Whether nothing is recorded or running, so that the host may write where the device could have been reading.</summary>
    private bool IsIdle() => _current.Handle == 0 && _submitted == (_submitted == 0 ? 0 : Poll());
}
