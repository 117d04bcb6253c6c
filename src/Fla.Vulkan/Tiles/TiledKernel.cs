namespace Fla.Vulkan;

/// <summary>A kernel of the tile table, and the choices that it can run with.</summary>
/// <param name="Name">Its name in the table.</param>
/// <param name="Shaders">The shaders that read the choice.</param>
/// <param name="Workgroups">Invocations of a workgroup.</param>
/// <param name="Slices">Lengths of a reduction's pieces; 0 where it has none.</param>
/// <param name="Rows">Rows of a tile; 0 where it is no choice.</param>
/// <param name="Columns">Columns of a tile; 0 where it is no choice.</param>
public sealed record TiledKernel(string Name, string[] Shaders, int[] Workgroups, int[] Slices, int[] Rows, int[] Columns)
{
    private static readonly int[] None = [0], Workgroups64 = [64, 128, 256, 512], UpTo256 = [64, 128, 256];

    /// <summary>All of them. Which are fast is for <see cref="TileTable"/> to say; which fit a device's shared memory shows when the pipeline is made.</summary>
    public static IReadOnlyList<TiledKernel> All { get; } =
    [
        Chunk("linear/chunk_state") with { Workgroups = UpTo256 },
        Chunk("linear/chunk_out", 64, 128) with { Workgroups = UpTo256, Slices = [32, 64, 128] },
        Chunk("linear/chunk_scores") with { Workgroups = UpTo256 },
        Chunk("linear/chunk_scores") with { Name = "linear/chunk_scores.erasing", Workgroups = UpTo256 },
        Chunk("linear/chunk_gradients") with { Workgroups = UpTo256 },
        Chunk("linear/chunk_scores_backward") with { Workgroups = UpTo256 },
        Chunk("linear/fused_chunk"),
        Chunk("delta/delta_state", 32, 64),
        Chunk("delta/delta_state.inverse", 32, 64) with { Shaders = ["delta/delta_state"] },
        Chunk("delta/kkt"),
        Chunk("delta/solve"),
        new("gemm/gemm", ["gemm/gemm"], Workgroups64, [32, 64], [64], [64]),
        new("gemm/gemm.large", ["gemm/gemm"], Workgroups64, [32, 64], [64, 128], [64, 128]),
        new("gemm/skinny", ["gemm/skinny"], [64, 128, 256], None, None, [1, 2, 4]),
        new("rows", ["norm/norm", "norm/norm_backward", "norm/softmax", "loss/cross_entropy", "rwkv/gate_correction", "rwkv/gate_correction_backward"],
            [32, 64, 128, 256], None, None, None),
    ];

    /// <summary>Whether the kernel is taken over cooperative matrices for a storage type; row kernels have none.</summary>
    public bool IsMatrix(ComputeDevice device, DType type) => Name != "rows" && device.MatrixShape(type) is not null;

    /// <summary>Every choice.</summary>
    public IEnumerable<TileChoice> Choices =>
        from workgroup in Workgroups from slice in Slices from rows in Rows from columns in Columns select new TileChoice(workgroup, slice, rows, columns);

    /// <summary>Whether a pipeline, by its name, is of this kernel.</summary>
    public bool Has(string pipeline)
    {
        var end = pipeline.AsSpan().IndexOfAny('[', ' ');
        return Shaders.Contains(end < 0 ? pipeline : pipeline[..end]);
    }

    private static TiledKernel Chunk(string name, params int[] columns) => new(name, [name], Workgroups64, [32, 64], None, columns.Length == 0 ? None : columns);
}
