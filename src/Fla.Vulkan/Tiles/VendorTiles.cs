namespace Fla.Vulkan;

/// <summary>
/// The tables: for each kernel the choice over cooperative matrices, then in plain arithmetic. Shared memory is at most 48 KiB on NVIDIA and 32 KiB elsewhere.
/// chunk_scores.erasing is that kernel with two readers of the state; "rows" are the norms and what else goes row by row (Ops/Nn/RowLayout.cs).
/// </summary>
internal static class VendorTiles
{
    private const uint NvidiaId = 0x10de, AmdId = 0x1002;

    /// <summary>From measurements on an H200 (fla tune, bench/NOTES.md).</summary>
    public static TileTable Nvidia { get; } = new("NVIDIA", 48 << 10, fill: 528, packs: true)
    {
        { "linear/chunk_state", new(256, Slice: 64), new(256, Slice: 32) },
        { "linear/chunk_out", new(128, Slice: 128, Columns: 128), new(256, Slice: 32, Columns: 64) },
        { "linear/chunk_scores", new(256, Slice: 64), new(256, Slice: 32) },
        { "linear/chunk_scores.erasing", new(128, Slice: 64), new(256, Slice: 32) },
        { "linear/chunk_gradients", new(256, Slice: 64), new(256, Slice: 32) },
        { "linear/chunk_scores_backward", new(256, Slice: 64), new(256, Slice: 32) },
        { "linear/fused_chunk", new(256, Slice: 64), new(256, Slice: 32) },
        { "delta/delta_state", new(256, Slice: 64, Columns: 64), new(256, Slice: 32, Columns: 64) },
        { "delta/delta_state.inverse", new(128, Slice: 64, Columns: 64), new(256, Slice: 32, Columns: 64) },
        { "delta/kkt", new(256, Slice: 64), new(256, Slice: 32) },
        { "delta/solve", new(256, Slice: 64), new(256, Slice: 32) },
        { "gemm/gemm", new(128, Slice: 32, Rows: 64, Columns: 64), new(128, Slice: 32, Rows: 64, Columns: 64) },
        { "gemm/gemm.large", new(128, Slice: 32, Rows: 128, Columns: 128), new(256, Slice: 32, Rows: 128, Columns: 128) },
        { "gemm/skinny", new(256, Columns: 2), new(256, Columns: 2) },
        { "rows", new(256), new(256) },
    };

    /// <summary>
    /// From AMD's compiler (fla tune --figures on RADV's null device, NAVI31): of the choices without spills, the one of the least cost a tile, which is the waves' busy
    /// cycles, or where they are longer their latency over the waves that share a SIMD.
    /// </summary>
    public static TileTable Amd { get; } = new("AMD", 32 << 10, fill: 512)
    {
        { "linear/chunk_state", new(128, Slice: 32), new(256, Slice: 32) },
        { "linear/chunk_out", new(128, Slice: 128, Columns: 128), new(256, Slice: 32, Columns: 64) },
        { "linear/chunk_scores", new(128, Slice: 32), new(256, Slice: 32) },
        { "linear/chunk_scores.erasing", new(128, Slice: 32), new(256, Slice: 32) },
        { "linear/chunk_gradients", new(256, Slice: 32), new(256, Slice: 32) },
        { "linear/chunk_scores_backward", new(256, Slice: 32), new(256, Slice: 32) },
        { "linear/fused_chunk", new(256, Slice: 32), new(256, Slice: 32) },
        { "delta/delta_state", new(256, Slice: 32, Columns: 64), new(256, Slice: 32, Columns: 64) },
        { "delta/delta_state.inverse", new(256, Slice: 32, Columns: 64), new(256, Slice: 32, Columns: 64) },
        { "delta/kkt", new(64, Slice: 32), new(256, Slice: 32) },
        { "delta/solve", new(64, Slice: 32), new(256, Slice: 32) },
        { "gemm/gemm", new(128, Slice: 32, Rows: 64, Columns: 64), new(128, Slice: 32, Rows: 64, Columns: 64) },
        { "gemm/gemm.large", new(128, Slice: 32, Rows: 128, Columns: 128), new(256, Slice: 32, Rows: 64, Columns: 128) },
        { "gemm/skinny", new(256, Columns: 2), new(256, Columns: 2) },
        { "rows", new(256), new(256) },
    };

    /// <summary>Nothing measured: what fits.</summary>
    public static TileTable Intel { get; } = new("Intel", 32 << 10, fill: 512)
    {
        { "linear/chunk_state", new(256, Slice: 32), new(256, Slice: 32) },
        { "linear/chunk_out", new(256, Slice: 64, Columns: 64), new(256, Slice: 32, Columns: 64) },
        { "linear/chunk_scores", new(256, Slice: 32), new(256, Slice: 32) },
        { "linear/chunk_scores.erasing", new(256, Slice: 32), new(256, Slice: 32) },
        { "linear/chunk_gradients", new(256, Slice: 32), new(256, Slice: 32) },
        { "linear/chunk_scores_backward", new(256, Slice: 32), new(256, Slice: 32) },
        { "linear/fused_chunk", new(256, Slice: 32), new(256, Slice: 32) },
        { "delta/delta_state", new(256, Slice: 32, Columns: 64), new(256, Slice: 32, Columns: 64) },
        { "delta/delta_state.inverse", new(256, Slice: 32, Columns: 64), new(256, Slice: 32, Columns: 64) },
        { "delta/kkt", new(256, Slice: 32), new(256, Slice: 32) },
        { "delta/solve", new(256, Slice: 32), new(256, Slice: 32) },
        { "gemm/gemm", new(128, Slice: 32, Rows: 64, Columns: 64), new(128, Slice: 32, Rows: 64, Columns: 64) },
        { "gemm/gemm.large", new(128, Slice: 32, Rows: 64, Columns: 64), new(256, Slice: 32, Rows: 128, Columns: 64) },
        { "gemm/skinny", new(256, Columns: 2), new(256, Columns: 2) },
        { "rows", new(256), new(256) },
    };

    /// <summary>
    /// From measurements on lavapipe. A CPU driver compiles a kernel of several accumulators in half the time with 128 invocations as with 64, and runs it as fast;
    /// a barrier costs it a switch for each subgroup.
    /// </summary>
    public static TileTable Cpu { get; } = new("CPU", 32 << 10, fill: 16)
    {
        { "linear/chunk_state", new(256, Slice: 32), new(128, Slice: 32) },
        { "linear/chunk_out", new(256, Slice: 64, Columns: 64), new(128, Slice: 32, Columns: 64) },
        { "linear/chunk_scores", new(256, Slice: 32), new(128, Slice: 32) },
        { "linear/chunk_scores.erasing", new(256, Slice: 32), new(128, Slice: 32) },
        { "linear/chunk_gradients", new(256, Slice: 32), new(128, Slice: 32) },
        { "linear/chunk_scores_backward", new(256, Slice: 32), new(128, Slice: 32) },
        { "linear/fused_chunk", new(256, Slice: 32), new(128, Slice: 32) },
        { "delta/delta_state", new(256, Slice: 32, Columns: 64), new(128, Slice: 32, Columns: 64) },
        { "delta/delta_state.inverse", new(256, Slice: 32, Columns: 64), new(128, Slice: 32, Columns: 64) },
        { "delta/kkt", new(256, Slice: 32), new(128, Slice: 32) },
        { "delta/solve", new(256, Slice: 32), new(128, Slice: 32) },
        { "gemm/gemm", new(256, Slice: 64, Rows: 64, Columns: 64), new(64, Slice: 32, Rows: 64, Columns: 64) },
        { "gemm/gemm.large", new(256, Slice: 64, Rows: 64, Columns: 64), new(64, Slice: 32, Rows: 64, Columns: 64) },
        { "gemm/skinny", new(64, Columns: 4), new(64, Columns: 4) },
        { "rows", new(32), new(32) },
    };

    /// <summary>The table for a device; that of Intel, the most careful one, for vendors without their own.</summary>
    public static TileTable For(DeviceInfo device) => device.Kind == DeviceKind.Cpu ? Cpu : device.VendorId switch
    {
        NvidiaId => Nvidia,
        AmdId => Amd,
        _ => Intel,
    };
}
