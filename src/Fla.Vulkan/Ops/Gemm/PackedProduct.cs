namespace Fla.Vulkan.Ops;

/// <summary>
/// An operand as fragments of cooperative matrices, in the order in which products want them (shaders/gemm/pack.comp): what a product reads of it comes whole, in runs of
/// 512 bytes, straight into registers. Rows and reduction are filled up with zeros.
/// </summary>
internal sealed class PackedOperand : IDisposable
{
    /// <summary>What rows are filled up to multiples of, and what a workgroup packs of the reduction.</summary>
    private const int Block = 64;

    /// <summary>What the reduction is filled up to multiples of: products take three steps at a time.</summary>
    public const int Turn = 48;

    private static readonly Kernel<PackArgs> PackKernel = new("gemm/pack");

    private PackedOperand(Tensor data, int rows, int k, int blocks) => (Data, Rows, K, Blocks) = (data, rows, k, blocks);

    private readonly record struct PackArgs(In Source, Out Packed, uint Rows, uint K, uint Ld, uint Stride, uint Batch);

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
        var (blocks, turns, layers) = ((rows + Block - 1) / Block, (k + Turn - 1) / Turn, operand.PerBatch ? batch : 1);
        // One turn more: products read two steps past the end.
        var data = Tensor.Empty(source.Device, source.DType, (layers * blocks * turns) + 1, Block * Turn);
        var pieces = ((turns * Turn) + Block - 1) / Block;
        PackKernel.Launch(source.Device, new(source, data, (uint)rows, (uint)k, (uint)operand.Columns, operand.PerBatch ? (uint)(operand.Rows * operand.Columns) : 0, (uint)layers),
            Grid.Linear((long)layers * blocks * pieces), $"{source.DType.Variant()},MM=coopmat",
            TileProduct.Spec(source.Device, source.DType, Block, Block, source.Device.IsCpu ? 64u : 128, isB ? 1u : 0, alongK ? 1u : 0, Gemm.Alignment(operand.Columns, source)));
        return new(data, rows, k, operand.PerBatch ? blocks : 0);
    }

    /// <inheritdoc/>
    public void Dispose() => Data.Dispose();
}

/// <summary>Products of packed operands (shaders/gemm/packed.comp).</summary>
internal static class PackedProduct
{
    private static readonly Kernel<PackedArgs> Kernel = new("gemm/packed");

    private readonly record struct PackedArgs(In A, In B, In Bias, In D, InOut C, uint M, uint N, uint K, uint Ldc, uint BlocksA, uint BlocksB, uint Batch, uint Splits,
        uint KPerSplit, float Alpha, float Beta);

    /// <summary>True where fragments of A and B have eight components a lane. (Sizes alone do not tell: AMD has devices that keep every component twice.)</summary>
    public static bool Can(ComputeDevice device, DType type) => (device.Tiles.Packs || device.IsCpu)
        && device.MatrixShape(type) is { } f && f.M * f.K == 8 * device.SubgroupSize && f.N * f.K == 8 * device.SubgroupSize;

    /// <summary>C = alpha·A·B + bias + beta·D, or the sums of pieces where the plan has several.</summary>
    public static void Run(GemmPlan plan, PackedOperand a, PackedOperand b, Tensor c, int batch, float alpha, Tensor? bias, Tensor? d, float beta, uint alignment)
    {
        var type = a.Data.DType;
        Kernel.Launch(c.Device, new(a.Data, b.Data, bias, d, c, (uint)a.Rows, (uint)b.Rows, (uint)a.K, (uint)b.Rows, (uint)a.Blocks, (uint)b.Blocks, (uint)batch, (uint)plan.Splits,
            (uint)plan.KPerSplit, alpha, beta), Grid.Linear(plan.Tiles * plan.Splits * batch), $"{type.Variant()},MM=coopmat",
            TileProduct.Spec(c.Device, type, plan.TileM, plan.TileN, (uint)plan.Workgroup, c.DType == DType.Float32 ? 1u : 0, alignment,
                bias is null ? 0u : 1, d is null ? 0u : 1, plan.Splits > 1 ? 1u : 0));
    }
}
