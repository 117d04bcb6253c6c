namespace Fla.Vulkan.Ops;

/// <summary>
/// Random numbers by counter: Philox 4x32-10 (Salmon et al. 2011; shaders/random). A seed and an offset always give the same bits, in any order.
/// </summary>
public static class Philox
{
    private static readonly Kernel<Args> FillKernel = new("random/philox");

    private readonly record struct Args(Out Y, uint N, uint Kind, uint SeedLow, uint SeedHigh, uint OffsetLow, uint OffsetHigh, float A, float B);

    /// <summary>A tensor of normal numbers.</summary>
    /// <param name="device">Where.</param>
    /// <param name="seed">Key.</param>
    /// <param name="offset">First counter; every counter gives four numbers.</param>
    /// <param name="shape">Sizes.</param>
    /// <param name="std">Standard deviation.</param>
    /// <param name="mean">Mean.</param>
    /// <param name="type">A float type.</param>
    public static Tensor Normal(ComputeDevice device, ulong seed, ulong offset, ReadOnlySpan<int> shape, float std = 1, float mean = 0, DType type = DType.Float32)
    {
        var y = Tensor.Empty(device, type, shape);
        FillNormal(y, seed, offset, std, mean);
        return y;
    }

    /// <summary>A tensor of numbers uniform in [low, high).</summary>
    /// <param name="device">Where.</param>
    /// <param name="seed">Key.</param>
    /// <param name="offset">First counter; every counter gives four numbers.</param>
    /// <param name="shape">Sizes.</param>
    /// <param name="low">Smallest number.</param>
    /// <param name="high">Bound.</param>
    /// <param name="type">A float type.</param>
    public static Tensor Uniform(ComputeDevice device, ulong seed, ulong offset, ReadOnlySpan<int> shape, float low = 0, float high = 1, DType type = DType.Float32)
    {
        var y = Tensor.Empty(device, type, shape);
        FillUniform(y, seed, offset, low, high);
        return y;
    }

    /// <summary>Overwrites a tensor with normal numbers.</summary>
    /// <exception cref="DTypeException">It holds integers.</exception>
    public static void FillNormal(Tensor target, ulong seed, ulong offset, float std = 1, float mean = 0) => Fill(target, seed, offset, 1, mean, std);

    /// <summary>Overwrites a tensor with numbers uniform in [low, high).</summary>
    /// <exception cref="DTypeException">It holds integers.</exception>
    public static void FillUniform(Tensor target, ulong seed, ulong offset, float low = 0, float high = 1) => Fill(target, seed, offset, 0, low, high);

    /// <summary>Counters that a tensor of so many elements uses up.</summary>
    public static ulong Counters(long count) => (ulong)((count + 3) / 4);

    private static void Fill(Tensor target, ulong seed, ulong offset, uint kind, float a, float b)
    {
        Require.Float(target, nameof(target));
        FillKernel.Launch(target.Device, new(target, RowLayout.Index(target.Count, target), kind, (uint)seed, (uint)(seed >> 32), (uint)offset, (uint)(offset >> 32), a, b),
            RowLayout.Elements(target.Count), target.DType.Variant(), RowLayout.Workgroup);
        target.Storage.Version++;
    }
}
