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

    /// <summary>Specialization constants: the tile product's, then the kernel's own from 8 on.</summary>
    /// <remarks>CPU drivers compile a kernel with several accumulators in half the time with 128 invocations as with 64, and run it as fast.</remarks>
    public static uint[] Spec(ComputeDevice device, DType type, params ReadOnlySpan<uint> own)
    {
        var spec = TileProduct.Spec(device, type, Size, Size, own);
        spec[0] = device.IsCpu && device.MatrixShape(type) is null ? 128u : 256u;
        return spec;
    }

    /// <summary>1 when rows of all these widths hold whole quads.</summary>
    public static uint Aligned(params ReadOnlySpan<int> widths)
    {
        foreach (var width in widths)
        {
            if (width % 4 != 0) return 0;
        }
        return 1;
    }

    /// <summary>Checks a chunk length.</summary>
    /// <exception cref="ShapeException">Not 16, 32 or 64.</exception>
    public static void Check(int chunkSize) => Require.That(chunkSize is 16 or 32 or 64, $"chunkSize is 16, 32 or 64, not {chunkSize}");
}
