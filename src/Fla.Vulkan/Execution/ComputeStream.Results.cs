using Silk.NET.Vulkan;

namespace Fla.Vulkan;

public sealed unsafe partial class ComputeStream
{
    /// <summary>Number of the last submission.</summary>
    internal ulong Submitted => _submitted;

    /// <summary>True when a submission is done; does not wait.</summary>
    internal bool IsDone(ulong submission)
    {
        lock (_device.Gate) return _completed >= submission || Poll() >= submission;
    }

    /// <summary>Waits for a submission, and not for later ones.</summary>
    internal void WaitFor(ulong submission)
    {
        lock (_device.Gate) Wait(submission);
    }

    /// <summary>Records the time at which all work before is done.</summary>
    internal void WriteTime(QueryPool queries, uint index)
    {
        lock (_device.Gate)
        {
            if (IsRehearsing) return;
            BeginRecording();
            _api.CmdResetQueryPool(_current, queries, index, 1);
            _api.CmdWriteTimestamp2(_current, PipelineStageFlags2.AllCommandsBit, queries, index);
        }
    }

    /// <summary>Records a copy to memory that the host sees once the submission is done.</summary>
    internal void CopyToHost(Storage source, ulong sourceOffset, ulong size, MemoryBlock target, ulong targetOffset)
    {
        lock (_device.Gate)
        {
            if (IsRehearsing) return;
            BeginRecording();
            Touch(source, Access.Read);
            FlushHazards();
            var region = new BufferCopy(source.Offset + source.Lead + sourceOffset, targetOffset, size);
            _api.CmdCopyBuffer(_current, source.Block.Buffer, target.Buffer, 1, &region);
            Barrier(WorkStages, AccessFlags2.MemoryWriteBit, PipelineStageFlags2.HostBit, AccessFlags2.HostReadBit);
        }
    }
}
