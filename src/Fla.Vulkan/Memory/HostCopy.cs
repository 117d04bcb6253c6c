namespace Fla.Vulkan;

/// <summary>Copies in host memory: one core does not fill the bus to a fast device.</summary>
internal static unsafe class HostCopy
{
    private const long Least = 1 << 20;
    private const int MaxParts = 4;

    private static readonly int Threads = Math.Clamp(Environment.ProcessorCount / 2, 1, MaxParts);

    public static void Run(nint from, nint to, long size) => Run(from, to, size, Threads);

    public static void Run(nint from, nint to, long size, int threads)
    {
        var count = (int)Math.Min(threads, size / Least);
        if (count <= 1)
        {
            Buffer.MemoryCopy((void*)from, (void*)to, size, size);
            return;
        }
        // Whole cache lines each.
        var part = (size / count + 63) / 64 * 64;
        Parallel.For(0, count, i =>
        {
            var start = i * part;
            var length = Math.Min(part, size - start);
            Buffer.MemoryCopy((byte*)from + start, (byte*)to + start, length, length);
        });
    }
}
