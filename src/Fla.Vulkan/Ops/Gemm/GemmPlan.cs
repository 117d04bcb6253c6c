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

    /// <summary>Operands brought into the order of fragments first (pack.comp, packed.comp). Needs cooperative matrices of eight components a lane.</summary>
    Packed,
}

/// <summary>How a product is cut: the tile of a workgroup and the pieces of the reduction. A function of device and shape alone, so results repeat.</summary>
internal readonly record struct GemmPlan(int TileM, int TileN, int Workgroup, int Slice, int Splits, int KPerSplit, long Tiles)
{
    /// <summary>What pieces of the reduction are multiples of: two slices divide it.</summary>
    private const int Grain = 128;

    /// <summary>The same for packed operands: whole turns of their product.</summary>
    private const int PackedGrain = 8 * PackedOperand.Turn;

    /// <summary>The slice of the thinnest tiles, of which every invocation of a workgroup of 128 has a part to bring.</summary>
    private const int ThinSlice = 64, Thinnest = 16;

    /// <summary>Where packing begins to pay: half the harmonic mean of rows and columns, and the products in all. Measured on an H200.</summary>
    private const double LeastPacked = 600, LeastPackedProducts = 2e9;

    private const int ShortestPiece = 512;
    private const int MostSplits = 64;

    /// <summary>What a tile costs beside its reduction, as so many steps of it.</summary>
    private const int TileOverhead = 256;

    /// <summary>The second pass over split sums: what it costs at all, and for so many sums once more as much as an element that is brought to shared memory.</summary>
    private const int SumOverhead = 25_000, SumsAnElement = 64;

    /// <summary>The fastest kernel for op(A) [m,k] times op(B) [k,n].</summary>
    public static GemmRoute Route(ComputeDevice device, Operand a, Operand b, int batch, int m, int n, int k)
    {
        if (a.IsPackedAlone) return GemmRoute.Packed;
        if (batch == 1 && m <= SkinnyProduct.MaxRows && k > 0 && !a.Transposed && b.Transposed) return GemmRoute.Skinny;
        if (device.IsCpu) return k > 0 && (n >= 4 || b.Transposed) ? GemmRoute.Direct : GemmRoute.Tiles;
        return IsPacked(device, a.Tensor.DType, batch, m, n, k) ? GemmRoute.Packed : GemmRoute.Tiles;
    }

    /// <summary>True where the product is made of packed operands: what they save, a share of the products, is more than packing costs, which goes with the operands' size.</summary>
    public static bool IsPacked(ComputeDevice device, DType type, int batch, double m, double n, double k) =>
        !device.IsCpu && PackedProduct.Can(device, type) && m * n / (m + n) >= LeastPacked && batch * m * n * k >= LeastPackedProducts;

    /// <summary>How the tile product cuts [m,k]·[k,n]: the tiles and pieces that are done first.</summary>
    public static GemmPlan For(ComputeDevice device, DType type, int m, int n, int k, int batch)
    {
        var isMatrix = device.MatrixShape(type) is not null;
        TileChoice usual = device.Tiles["gemm/gemm", isMatrix], large = device.Tiles["gemm/gemm.large", isMatrix];
        var (tileM, tileN) = (Fit(m, usual.Rows), Fit(n, usual.Columns));
        // CPU drivers want many values an invocation: a smaller tile has fewer of them.
        var workgroup = device.IsCpu && !isMatrix ? Math.Max(8, usual.Workgroup * tileM * tileN / (usual.Rows * usual.Columns)) : usual.Workgroup;
        var slice = isMatrix && Math.Min(tileM, tileN) == Thinnest ? ThinSlice : usual.Slice;
        var (plan, cost) = Split(device, usual with { Workgroup = workgroup, Slice = slice, Rows = tileM, Columns = tileN }, m, n, k, batch);
        if (m < large.Rows || n < large.Columns) return plan;
        var (other, otherCost) = Split(device, large, m, n, k, batch);
        return otherCost < cost ? other : plan;
    }

    /// <summary>How the product of packed operands is cut.</summary>
    public static GemmPlan ForPacked(ComputeDevice device, int m, int n, int k, int batch) =>
        Split(device, device.IsCpu ? new(64, Slice: 64, Rows: 64, Columns: 64) : new(128, Slice: 64, Rows: 128, Columns: 128), m, n, k, batch, PackedGrain).Plan;

    /// <summary>The best number of pieces for a tile. Costs are elements brought to shared memory, one tile after the other, which is what bounds the kernel.</summary>
    private static (GemmPlan Plan, double Cost) Split(ComputeDevice device, TileChoice tile, int m, int n, int k, int batch, int grain = Grain)
    {
        var tiles = Count(m, n, tile.Rows, tile.Columns);
        long resident = Math.Max(1, device.Tiles.Fill / 2), all = Math.Max(1, tiles * batch);
        var most = (int)Math.Clamp(Math.Min(2 * resident / all, k / ShortestPiece), 1, MostSplits);
        var (best, least) = (default(GemmPlan), double.PositiveInfinity);
        for (var wanted = 1; wanted <= most; wanted++)
        {
            var perSplit = Math.Max(1, ((k + wanted - 1) / wanted + grain - 1) / grain) * grain;
            var splits = Math.Max(1, (k + perSplit - 1) / perSplit);
            var rounds = (all * splits + resident - 1) / resident;
            var cost = (double)rounds * (perSplit + TileOverhead) * (tile.Rows + tile.Columns);
            if (splits > 1) cost += SumOverhead + (double)m * n * batch * splits / SumsAnElement;
            if (cost < least) (best, least) = (new(tile.Rows, tile.Columns, tile.Workgroup, tile.Slice, splits, perSplit, tiles), cost);
        }
        return (best, least);
    }

    private static int Fit(int size, int largest) => size <= Thinnest ? Thinnest : size <= 32 ? 32 : Math.Min(64, largest);

    private static long Count(int m, int n, int tileM, int tileN) => (m + tileM - 1L) / tileM * ((n + tileN - 1L) / tileN);
}
