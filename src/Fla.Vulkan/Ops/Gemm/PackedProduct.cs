namespace Fla.Vulkan.Ops;

/// <summary>
/// An operand as fragments of cooperative matrices, in the order in which products want them (shaders/gemm/pack.comp): what a product reads of it comes whole, in runs of
/// 512 bytes, straight into registers. Rows and reduction are filled up with zeros.
/// </summary>
internal sealed class PackedOperand : IDisposable
{
    /// <summary>What rows are filled up to multiples of, and what a workgroup packs of the reduction.</summary>
    public const int Block = 64;

    /// <summary>What the reduction is filled up to multiples of: products take three steps at a time.</summary>
    public const int Turn = 48;

    private static readonly Kernel<PackArgs> PackKernel = new("gemm/pack");

    private PackedOperand(Tensor data, int rows, int k, int blocks) => (Data, Rows, K, Blocks) = (data, rows, k, blocks);

    private readonly record struct PackArgs(In Source, Out Packed, uint Rows, uint K, uint Ld, uint Stride, uint Batch);

    /// <summary>Room for an operand that a kernel makes as fragments.</summary>
    /// <param name="device">Where it lives.</param>
    /// <param name="type">f16 or bf16.</param>
    /// <param name="rows">Rows of op(A), or columns of op(B).</param>
    /// <param name="k">The reduction.</param>
    public static PackedOperand Empty(ComputeDevice device, DType type, int rows, int k) => Empty(device, type, rows, k, 1, isPerBatch: false);

    /// <summary>The fragments, as elements of the operand's type.</summary>
    public Tensor Data { get; }

    /// <summary>Rows of op(A), or columns of op(B).</summary>
    public int Rows { get; }

    /// <summary>The reduction.</summary>
    public int K { get; }

    /// <summary>Blocks of 64 rows of a batch, 0 where all share one operand.</summary>
    public int Blocks { get; }

    /// <summary>Packs op(A) [rows, k], or op(B) [k, rows].</summary>
    /// <param name="operand">The operand.</param>
    /// <param name="isB">It is the right one.</param>
    /// <param name="batch">Batches of the product.</param>
    public static PackedOperand Of(Operand operand, bool isB, int batch)
    {
        var source = operand.Tensor;
        var alongK = operand.Transposed == isB;
        var (rows, k) = alongK ? (operand.Rows, operand.Columns) : (operand.Columns, operand.Rows);
        var layers = operand.PerBatch ? batch : 1;
        var packed = Empty(source.Device, source.DType, rows, k, layers, operand.PerBatch);
        PackKernel.Launch(source.Device, new(source, packed.Data, (uint)rows, (uint)k, (uint)operand.Columns, operand.PerBatch ? (uint)(operand.Rows * operand.Columns) : 0, (uint)layers),
            Grid.Linear((long)layers * BlocksOf(rows) * BlocksOf(Depth(k))), $"{source.DType.Variant()},MM=coopmat",
            TileProduct.Spec(source.Device, source.DType, Block, Block, PackedProduct.Workgroup(source.Device), isB ? 1u : 0, alongK ? 1u : 0, Gemm.Alignment(operand.Columns, source)));
        return packed;
    }

    /// <summary>Blocks of 64 that so many rows take.</summary>
    public static int BlocksOf(int rows) => (rows + Block - 1) / Block;

    /// <summary>What a reduction is filled up to.</summary>
    public static int Depth(int k) => (k + Turn - 1) / Turn * Turn;

    private static PackedOperand Empty(ComputeDevice device, DType type, int rows, int k, int layers, bool isPerBatch)
    {
        var blocks = BlocksOf(rows);
        // One turn more: products read two steps past the end.
        var data = Tensor.Empty(device, type, (layers * blocks * (Depth(k) / Turn)) + 1, Block * Turn);
        return new(data, rows, k, isPerBatch ? blocks : 0);
    }

    /// <inheritdoc/>
    public void Dispose() => Data.Dispose();
}

/// <summary>Products of packed operands (shaders/gemm/packed.comp).</summary>
internal static class PackedProduct
{
    private static readonly Kernel<PackedArgs> Kernel = new("gemm/packed");
    private static readonly Kernel<SumsArgs> SumsKernel = new("gemm/sums");

    private readonly record struct SumsArgs(In Sums, In Factor, Out C, uint M, uint N);

    private readonly record struct PackedArgs(In A, In B, In Bias, In D, InOut C, uint M, uint N, uint K, uint Ldc, uint BlocksA, uint BlocksB, uint Batch, uint Splits,
        uint KPerSplit, float Alpha, float Beta);

    /// <summary>True where fragments of A and B have eight components a lane. (Sizes alone do not tell: AMD has devices that keep every component twice.)</summary>
    public static bool Can(ComputeDevice device, DType type) => (device.Tiles.Packs || device.IsCpu)
        && device.MatrixShape(type) is { } f && f.M * f.K == 8 * device.SubgroupSize && f.N * f.K == 8 * device.SubgroupSize;

    /// <summary>True where, beyond that, accumulators lie like operands, so that the result of a product is packed as it stands.</summary>
    public static bool CanChain(ComputeDevice device, DType type) => Can(device, type) && device.HasMatrixChain(type);

    /// <summary>Invocations of a workgroup that has 64 × 64: a subgroup for each row of fragments.</summary>
    public static uint Workgroup(ComputeDevice device) => device.IsCpu ? 64u : 128;

    /// <summary>C = alpha·A·B + bias + beta·D, or the sums of pieces where the plan has several.</summary>
    public static void Run(GemmPlan plan, PackedOperand a, PackedOperand b, Tensor c, int batch, float alpha, Tensor? bias, Tensor? d, float beta, uint alignment)
    {
        Launch(plan, a, b, c, batch, alpha, bias, d, beta, alignment, isFragments: false);
    }

    /// <summary>A·B, rounded, as the left operand of a next product. Needs a chain.</summary>
    public static PackedOperand Chained(PackedOperand a, PackedOperand b)
    {
        var c = PackedOperand.Empty(a.Data.Device, a.Data.DType, a.Rows, b.Rows);
        Launch(Whole(a, b), a, b, c.Data, 1, 1, null, null, 1, 8, isFragments: true);
        return c;
    }

    /// <summary>Room for sums [m, n] in fp32, as fragments.</summary>
    public static Tensor EmptySums(ComputeDevice device, int m, int n) =>
        Tensor.Empty(device, DType.Float32, PackedOperand.BlocksOf(m), PackedOperand.BlocksOf(n), PackedOperand.Block * PackedOperand.Block);

    /// <summary>sums = A·B, or sums + A·B.</summary>
    public static void Sum(PackedOperand a, PackedOperand b, Tensor sums, bool isFirst) =>
        Launch(Whole(a, b), a, b, sums, 1, 1, null, isFirst ? null : sums, 1, 8, isFragments: true);

    /// <summary>factor·sums as rows.</summary>
    /// <param name="sums">Of <see cref="Sum"/>.</param>
    /// <param name="factor">f32 [1].</param>
    /// <param name="c">[m, n].</param>
    public static void Store(Tensor sums, Tensor factor, Tensor c)
    {
        var (m, n) = (c.Size(0), c.Size(1));
        SumsKernel.Launch(c.Device, new(sums, factor, c, (uint)m, (uint)n), Grid.Linear((long)PackedOperand.BlocksOf(m) * PackedOperand.BlocksOf(n)), $"{c.DType.Variant()},MM=coopmat",
            TileProduct.Spec(c.Device, c.DType, PackedOperand.Block, PackedOperand.Block, Workgroup(c.Device), Gemm.Alignment(n, c)));
    }

    private static GemmPlan Whole(PackedOperand a, PackedOperand b) => GemmPlan.ForPacked(a.Data.Device, a.Rows, b.Rows, a.K, 1) with { Splits = 1, KPerSplit = PackedOperand.Depth(a.K) };

    private static void Launch(GemmPlan plan, PackedOperand a, PackedOperand b, Tensor c, int batch, float alpha, Tensor? bias, Tensor? d, float beta, uint alignment, bool isFragments)
    {
        var type = a.Data.DType;
        Kernel.Launch(c.Device, new(a.Data, b.Data, bias, d, c, (uint)a.Rows, (uint)b.Rows, (uint)a.K, (uint)b.Rows, (uint)a.Blocks, (uint)b.Blocks, (uint)batch, (uint)plan.Splits,
            (uint)plan.KPerSplit, alpha, beta), Grid.Linear(plan.Tiles * plan.Splits * batch), $"{type.Variant()},MM=coopmat",
            TileProduct.Spec(c.Device, type, plan.TileM, plan.TileN, (uint)plan.Workgroup, c.DType == DType.Float32 ? 1u : 0, alignment,
                bias is null ? 0u : 1, d is null ? 0u : 1, plan.Splits > 1 ? 1u : 0, isFragments ? 1u : 0));
    }
}
