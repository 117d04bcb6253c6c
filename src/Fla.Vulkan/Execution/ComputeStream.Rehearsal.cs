namespace Fla.Vulkan;

public sealed unsafe partial class ComputeStream
{
    private Rehearsal? _rehearsal;

    /// <summary>True while work is only gone through for the memory that it would take.</summary>
    internal bool IsRehearsing => _rehearsal != null;

    /// <summary>
    /// Goes through some work as if it were done, with tensors that have no memory and kernels that are neither compiled nor run, to learn what memory it
    /// would take: the allocator makes the same choices. What is read back is 0; captures inside are gone through too.
    /// </summary>
    /// <param name="work">Given the counts, which begin at 0; disposes all tensors that it makes.</param>
    /// <returns>The counts, with the peaks of the work.</returns>
    /// <exception cref="CaptureException">A capture, a profile or another rehearsal is under way.</exception>
    /// <exception cref="GpuOutOfMemoryException">One tensor is larger than the device allows.</exception>
    public MemoryStatistics Rehearse(Action<MemoryStatistics> work)
    {
        ArgumentNullException.ThrowIfNull(work);
        lock (_device.Gate)
        {
            if (IsCapturing || IsRehearsing || _profile != null) throw new CaptureException("a capture, a profile or a rehearsal is under way");
            var rehearsal = _rehearsal = new(_device);
            try
            {
                work(rehearsal.Memory);
            }
            finally
            {
                _rehearsal = null;
            }
            return rehearsal.Memory;
        }
    }

    /// <summary>The pipelines that some work would launch, in the order of their first launch: names of variants and specialization constants.</summary>
    /// <param name="work">The work, gone through as by <see cref="Rehearse"/>; it disposes the tensors that it makes.</param>
    public IReadOnlyList<(string Key, uint[] Spec)> PipelinesOf(Action work)
    {
        lock (_device.Gate)
        {
            IReadOnlyList<(string, uint[])> pipelines = [];
            Rehearse(_ =>
            {
                work();
                pipelines = _rehearsal!.Pipelines;
            });
            return pipelines;
        }
    }

    internal void NoteRehearsed(string key, ReadOnlySpan<uint> spec) => _rehearsal!.Note(key, spec);

    /// <summary>Pools without memory, and their counts.</summary>
    private sealed class Rehearsal
    {
        private readonly ComputeDevice _device;
        private readonly List<MemoryPool> _pools = [];
        private readonly HashSet<(string, string)> _seen = [];

        public Rehearsal(ComputeDevice device)
        {
            _device = device;
            Memory = new(() => _pools);
            Pool = NewPool();
        }

        public MemoryStatistics Memory { get; }

        /// <summary>Stands for the device's own pool.</summary>
        public MemoryPool Pool { get; }

        public List<(string Key, uint[] Spec)> Pipelines { get; } = [];

        public void Note(string key, ReadOnlySpan<uint> spec)
        {
            var constants = spec.ToArray();
            if (_seen.Add((key, string.Join(',', constants)))) Pipelines.Add((key, constants));
        }

        public MemoryPool NewPool()
        {
            var pool = new MemoryPool(_device, "rehearsal", Memory, isImagined: true);
            _pools.Add(pool);
            return pool;
        }
    }
}
