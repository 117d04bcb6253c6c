namespace Fla.Vulkan.Ops;

/// <summary>Specialization constants of kernels over the tile product (shaders/common/tile.glsl).</summary>
internal static class TileProduct
{
    /// <summary>The path a storage type takes on a device, as a variant: "MM=coopmat" or "MM=plain".</summary>
    public static string Path(ComputeDevice device, DType type) => device.MatrixShape(type) is null ? "MM=plain" : "MM=coopmat";

    /// <summary>Constants 0 to 7, then the kernel's own.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Storage type.</param>
    /// <param name="m">Rows of the accumulator tile: 16, 32, 64 or 128.</param>
    /// <param name="n">Its columns.</param>
    /// <param name="workgroup">Invocations of a workgroup.</param>
    /// <param name="own">The kernel's constants, from 8 on.</param>
    public static uint[] Spec(ComputeDevice device, DType type, int m, int n, uint workgroup, params ReadOnlySpan<uint> own)
    {
        var fragment = device.MatrixShape(type) ?? new(16, 16, 16);
        return [workgroup, (uint)device.SubgroupSize, (uint)m, (uint)n, (uint)fragment.M, (uint)fragment.N, (uint)fragment.K, device.IsCpu ? 1u : 0u, .. own];
    }
}
