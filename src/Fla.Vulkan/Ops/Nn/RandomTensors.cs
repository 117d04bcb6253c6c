namespace Fla.Vulkan.Ops;

/// <summary>
/// Random numbers by counting: Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). A seed names a stream of numbers, the offset where in it
/// a tensor begins, so tensors of one seed at offsets that do not overlap are independent, and nothing depends on launch order.
/// </summary>
/// <remarks>
/// The integers are the same on every device. Uniform numbers are too, before rounding to f16 or bf16 as well as after it. Normal ones go through the device's
/// logarithm and square root and may differ in the last bits.
/// </remarks>
public static class RandomTensors
{
    private static readonly Kernel<Args> Kernel = new("random/philox");

    private readonly record struct Args(Out Y, ulong Seed, ulong Offset, uint Count, uint Kind, uint Type, float A, float B);

    private enum Kind : uint
    {
        Bits,
        Uniform,
        Normal,
    }

    /// <summary>Normal numbers.</summary>
    /// <param name="device">Where.</param>
    /// <param name="type">f32, f16 or bf16.</param>
    /// <param name="seed">The stream.</param>
    /// <param name="offset">Number of the first element in the stream.</param>
    /// <param name="shape">Sizes.</param>
    /// <param name="std">Standard deviation.</param>
    /// <param name="mean">Mean.</param>
    /// <exception cref="DTypeException">The type is an integer.</exception>
    public static Tensor Normal(ComputeDevice device, DType type, ulong seed, ulong offset, ReadOnlySpan<int> shape, float std = 1, float mean = 0) =>
        Make(device, Float(type), Kind.Normal, seed, offset, shape, mean, std);

    /// <summary>Uniform numbers in [low, high), in steps of (high − low)/2²⁴; rounding to f16 or bf16 may give high itself.</summary>
    /// <param name="device">Where.</param>
    /// <param name="type">f32, f16 or bf16.</param>
    /// <param name="seed">The stream.</param>
    /// <param name="offset">Number of the first element in the stream.</param>
    /// <param name="shape">Sizes.</param>
    /// <param name="low">Lower end.</param>
    /// <param name="high">Upper end.</param>
    /// <exception cref="DTypeException">The type is an integer.</exception>
    public static Tensor Uniform(ComputeDevice device, DType type, ulong seed, ulong offset, ReadOnlySpan<int> shape, float low = 0, float high = 1) =>
        Make(device, Float(type), Kind.Uniform, seed, offset, shape, low, high);

    /// <summary>The 32-bit words themselves, as i32.</summary>
    /// <param name="device">Where.</param>
    /// <param name="seed">The stream: the key.</param>
    /// <param name="offset">Number of the first word: word n is the (n mod 4)th of the block with counter n / 4.</param>
    /// <param name="shape">Sizes.</param>
    public static Tensor Bits(ComputeDevice device, ulong seed, ulong offset, params ReadOnlySpan<int> shape) => Make(device, DType.Int32, Kind.Bits, seed, offset, shape, 0, 0);

    private static DType Float(DType type) => type.IsFloat() ? type : throw new DTypeException($"random numbers of this kind need a float type, not {type.ShortName()}");

    private static Tensor Make(ComputeDevice device, DType type, Kind kind, ulong seed, ulong offset, ReadOnlySpan<int> shape, float a, float b)
    {
        var y = Tensor.Empty(device, type, shape);
        if (y.Count == 0) return y;
        Kernel.Launch(device, new(y, seed, offset, RowLayout.Index(y.Count, y), (uint)kind, RowLayout.TypeCode(y), a, b),
            Grid.Over((y.Count + 3 + 3) / 4, RowLayout.Workgroup), null, RowLayout.Workgroup);
        return y;
    }
}
