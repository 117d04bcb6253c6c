namespace Fla.Vulkan.Ops;

/// <summary>The kernels that multiply matrices.</summary>
internal enum GemmRoute
{
    /// <summary>The tile product (shaders/gemm/gemm.comp): any product, on any device.</summary>
    Tiles,

    /// <summary>From the cache, for CPU drivers (direct.comp). Needs four columns, or a transposed B.</summary>
    Direct,

    /// <summary>Few rows against a transposed B, once through the weights (skinny.comp).</summary>
    Skinny,
}

/// <summary>How a product is cut: the tile of a workgroup and the pieces of the reduction. A function of device and shape alone, so results repeat.</summary>
internal readonly record struct GemmPlan(int TileM, int TileN, int Workgroup, int Slice, int Splits, int KPerSplit, long Tiles)
{
    /// <summary>What pieces of the reduction are multiples of: every slice divides it.</summary>
    private const int Grain = 64;

    /// <summary>Enough large tiles to give every multiprocessor of a large card one.</summary>
    private const int ManyTiles = 96;

    private const int ShortestPiece = 512;
    private const int SkinnyRows = 8;

    /// <summary>The fastest kernel for op(A) [m,k] times op(B) [k,n].</summary>
    public static GemmRoute Route(ComputeDevice device, Operand a, Operand b, int batch, int m, int n, int k)
    {
        if (batch == 1 && m <= SkinnyRows && k > 0 && !a.Transposed && b.Transposed) return GemmRoute.Skinny;
        return device.IsCpu && k > 0 && (n >= 4 || b.Transposed) ? GemmRoute.Direct : GemmRoute.Tiles;
    }

    /// <summary>How the tile product cuts [m,k]·[k,n].</summary>
    public static GemmPlan For(ComputeDevice device, DType type, int m, int n, int k, int batch)
    {
        var isMatrix = device.MatrixShape(type) is not null;
        TileChoice usual = device.Tiles["gemm/gemm", isMatrix], large = device.Tiles["gemm/gemm.large", isMatrix];
        var isLarge = m >= large.Rows && n >= large.Columns && Count(m, n, large.Rows, large.Columns) * batch >= ManyTiles;
        var choice = isLarge ? large : usual;
        var (tileM, tileN, workgroup) = isLarge ? (large.Rows, large.Columns, large.Workgroup) : (Fit(m, usual.Rows), Fit(n, usual.Columns), usual.Workgroup);
        // CPU drivers want many values an invocation: a smaller tile has fewer of them.
        if (!isLarge && device.IsCpu && !isMatrix) workgroup = Math.Max(8, workgroup * tileM * tileN / (usual.Rows * usual.Columns));
        var tiles = Count(m, n, tileM, tileN);

        // Few tiles and a long reduction: cut it, but into pieces long enough to pay for the second pass.
        var wanted = device.Tiles.Fill / 2;
        var splits = (int)Math.Clamp(Math.Min(wanted / Math.Max(1, tiles * batch), k / ShortestPiece), 1, 64);
        var perSplit = ((k + splits - 1) / splits + Grain - 1) / Grain * Grain;
        splits = perSplit == 0 ? 1 : (k + perSplit - 1) / perSplit;
        return new(tileM, tileN, workgroup, choice.Slice, Math.Max(1, splits), Math.Max(Grain, perSplit), tiles);
    }

    private static int Fit(int size, int largest) => size <= 16 ? 16 : size <= 32 ? 32 : Math.Min(64, largest);

    private static long Count(int m, int n, int tileM, int tileN) => (m + tileM - 1L) / tileM * ((n + tileN - 1L) / tileN);
}
