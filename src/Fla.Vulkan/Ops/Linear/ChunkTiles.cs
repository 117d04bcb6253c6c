namespace Fla.Vulkan.Ops;

/// <summary>How the chunk kernels are specialised on a device: variant, and the tile product's constants (shaders/common/tile.glsl).</summary>
internal static class ChunkTiles
{
    /// <summary>Tokens and channels of a tile, and the longest chunk.</summary>
    public const int Size = 64;

    /// <summary>Tiles over a head's channels.</summary>
    public static uint Count(int channels) => (uint)((channels + Size - 1) / Size);

    /// <summary>The variant of a chunk kernel for a storage type.</summary>
    public static string Variant(ComputeDevice device, DType type) => $"{type.Variant()},{TileProduct.Path(device, type)}";

    /// <summary>How a chunk kernel is cut.</summary>
    public static TileChoice Choice(ComputeDevice device, string kernel, DType type) => device.Tiles[kernel, device.MatrixShape(type) is not null];

    /// <summary>Specialization constants: the tile product's, 8 and 9 of every chunk kernel, then the kernel's own from 10 on.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="kernel">Path of the shader.</param>
    /// <param name="type">Storage type.</param>
    /// <param name="isWhole">Whether <see cref="AreWhole"/>.</param>
    /// <param name="own">The kernel's constants.</param>
    public static uint[] Spec(ComputeDevice device, string kernel, DType type, bool isWhole, params ReadOnlySpan<uint> own)
    {
        var choice = Choice(device, kernel, type);
        return TileProduct.Spec(device, type, Size, Size, (uint)choice.Workgroup, [isWhole ? 1u : 0, (uint)choice.Slice, .. own]);
    }

    /// <summary>Slices of a reduction over a head's channels.</summary>
    public static uint Slices(ComputeDevice device, string kernel, DType type, int channels)
    {
        var slice = Choice(device, kernel, type).Slice;
        return (uint)((channels + slice - 1) / slice);
    }

    /// <summary>Whether rows of a width hold whole runs of eight elements, and tensors begin at multiples of 16 bytes.</summary>
    public static bool AreWhole(int width, int width2, params ReadOnlySpan<Tensor?> tensors) => RowLayout.AreOcts(width, tensors) && RowLayout.AreOcts(width2);

    /// <summary>Whether rows of a width hold whole tiles.</summary>
    public static uint AreFull(bool isWhole, int width, int width2) => isWhole && width % Size == 0 && width2 % Size == 0 ? 1u : 0;

    /// <summary>Whether all chunks have <see cref="Size"/> tokens.</summary>
    public static uint AreDense(LinearShape shape, int chunk) => chunk == Size && shape.Packed is null && shape.T % Size == 0 ? 1u : 0;

    /// <summary>Whether accumulators' components lie as operands' do, eight of an invocation, so that tiles go between products, and to memory, as they are.</summary>
    public static bool HaveFragments(ComputeDevice device, DType type) =>
        device.HasMatrixChain(type) && device.MatrixShape(type) is { } fragment && fragment.M * fragment.N == 8 * device.SubgroupSize;

    /// <summary>Checks a chunk length.</summary>
    /// <exception cref="ShapeException">Not 16, 32 or 64.</exception>
    public static void Check(int chunkSize) => Require.That(chunkSize is 16 or 32 or 64, $"chunkSize is 16, 32 or 64, not {chunkSize}");
}
