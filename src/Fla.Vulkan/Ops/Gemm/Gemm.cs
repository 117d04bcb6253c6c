namespace Fla.Vulkan.Ops;

/// <summary>A matrix as it lies in memory: whole tensor, rows of <see cref="Columns"/> elements, read as it is or transposed, once or for every batch.</summary>
/// <param name="Tensor">The elements.</param>
/// <param name="Rows">Rows in memory.</param>
/// <param name="Columns">Columns in memory.</param>
/// <param name="Transposed">The product sees the transpose.</param>
/// <param name="PerBatch">Every batch has its own; otherwise all share one.</param>
internal readonly record struct Operand(Tensor Tensor, int Rows, int Columns, bool Transposed = false, bool PerBatch = false);

/// <summary>
/// Matrix products on the device: C = alpha·op(A)·op(B) + bias + beta·D, accumulated in fp32 (shaders/gemm). Nothing here is recorded on the tape;
/// <see cref="Products"/> has the operators.
/// </summary>
internal static class Gemm
{
    private const int SkinnyRows = 8;
    private const uint SkinnyWorkgroup = 128;
    private const uint SumWorkgroup = 256;

    private static readonly Kernel<Args> TileKernel = new("gemm/gemm");
    private static readonly Kernel<SumArgs> SumKernel = new("gemm/split_sum");
    private static readonly Kernel<SkinnyArgs> SkinnyKernel = new("gemm/skinny");

    private readonly record struct Args(In A, In B, In Bias, In D, InOut C, uint M, uint N, uint K, uint Lda, uint Ldb, uint Ldc,
        uint StrideA, uint StrideB, uint Batch, uint Splits, uint KPerSplit, float Alpha, float Beta);

    private readonly record struct SumArgs(In P, In Bias, In D, InOut C, uint Elements, uint N, uint Batch, uint Splits, uint OutF32, float Alpha, float Beta);

    private readonly record struct SkinnyArgs(In A, In B, In Bias, In D, InOut C, uint M, uint N, uint K, uint Lda, uint Ldb, uint Ldc, float Alpha, float Beta);

    /// <summary>Runs one product.</summary>
    /// <param name="a">op(A) [m,k].</param>
    /// <param name="b">op(B) [k,n], of A's type.</param>
    /// <param name="c">[batch, m, n], in A's type or fp32; overwritten.</param>
    /// <param name="batch">Number of batches.</param>
    /// <param name="alpha">Factor of the product.</param>
    /// <param name="bias">[n] in A's type, added to every row; or null.</param>
    /// <param name="d">Added with the factor <paramref name="beta"/>: like c, may be c itself to accumulate; or null.</param>
    /// <param name="beta">Factor of <paramref name="d"/>.</param>
    /// <exception cref="ShapeException">Sizes do not fit each other, or exceed 2^31 rows, columns or elements of one batch.</exception>
    /// <exception cref="DTypeException">Types do not fit.</exception>
    public static void Run(Operand a, Operand b, Tensor c, int batch = 1, float alpha = 1, Tensor? bias = null, Tensor? d = null, float beta = 1)
    {
        var (m, k) = a.Transposed ? (a.Columns, a.Rows) : (a.Rows, a.Columns);
        var (k2, n) = b.Transposed ? (b.Columns, b.Rows) : (b.Rows, b.Columns);
        Check(a, b, c, batch, bias, d, m, n, k, k2);
        if (c.Count == 0) return;
        c.Storage.Version++;
        var type = a.Tensor.DType;
        var isFloat32 = c.DType == DType.Float32;
        if (batch == 1 && m <= SkinnyRows && !a.Transposed && b.Transposed)
        {
            var rows = System.Numerics.BitOperations.RoundUpToPowerOf2((uint)m);
            const uint columns = 2;
            var perGroup = (int)(SkinnyWorkgroup / (uint)c.Device.SubgroupSize * columns);
            SkinnyKernel.Launch(c.Device, new(a.Tensor, b.Tensor, bias, d, c, (uint)m, (uint)n, (uint)k, (uint)k, (uint)k, (uint)n, alpha, beta), Grid.Over(n, perGroup),
                type.Variant(), SkinnyWorkgroup, rows, columns, IsAligned(k, a.Tensor, b.Tensor) ? 1u : 0, isFloat32 ? 1u : 0);
            return;
        }

        var plan = GemmPlan.For(c.Device, type, m, n, k, batch);
        using var partial = plan.Splits > 1 ? Tensor.Empty(c.Device, DType.Float32, batch, plan.Splits, m, n) : null;
        var aligned = IsAligned(a.Columns, a.Tensor) && IsAligned(b.Columns, b.Tensor) && IsAligned(n, partial ?? c, bias, d);
        var args = new Args(a.Tensor, b.Tensor, partial is null ? bias : null, partial is null ? d : null, partial ?? c, (uint)m, (uint)n, (uint)k,
            (uint)a.Columns, (uint)b.Columns, (uint)n, a.PerBatch ? (uint)(a.Rows * a.Columns) : 0, b.PerBatch ? (uint)(b.Rows * b.Columns) : 0,
            (uint)batch, (uint)plan.Splits, (uint)plan.KPerSplit, alpha, beta);
        TileKernel.Launch(c.Device, args, Grid.Linear(plan.Tiles * plan.Splits * batch), $"{type.Variant()},{TileProduct.Path(c.Device, type)}",
            TileProduct.Spec(c.Device, type, plan.TileM, plan.TileN, a.Transposed ? 1u : 0, b.Transposed ? 1u : 0, aligned ? 1u : 0, isFloat32 ? 1u : 0));
        if (partial is null) return;
        var groups = ((long)m * n + SumWorkgroup - 1) / SumWorkgroup * batch;
        SumKernel.Launch(c.Device, new(partial, bias, d, c, (uint)(m * n), (uint)n, (uint)batch, (uint)plan.Splits, isFloat32 ? 1u : 0, alpha, beta), Grid.Linear(groups),
            type.Variant(), SumWorkgroup);
    }

    /// <summary>True when rows of this width begin at whole quads in all these tensors.</summary>
    private static bool IsAligned(int width, params ReadOnlySpan<Tensor?> tensors)
    {
        if (width % 4 != 0) return false;
        foreach (var tensor in tensors)
        {
            if (tensor is { } t && t.Address % (ulong)(4 * t.DType.Size()) != 0) return false;
        }
        return true;
    }

    private static void Check(Operand a, Operand b, Tensor c, int batch, Tensor? bias, Tensor? d, int m, int n, int k, int k2)
    {
        Require.SameDevice(a.Tensor, b.Tensor, c, bias, d);
        Require.Float(a.Tensor, "a");
        Require.Type(b.Tensor, a.Tensor.DType, "b");
        if (c.DType != DType.Float32) Require.Type(c, a.Tensor.DType, "c");
        Require.Type(bias, a.Tensor.DType, "bias");
        Require.Type(d, c.DType, "d");
        Require.That(k == k2, $"the inner sizes of a product differ: [{m}, {k}] times [{k2}, {n}]");
        CheckOperand(a, batch, "a");
        CheckOperand(b, batch, "b");
        Require.That(c.Count == (long)batch * m * n, $"{c.Describe()} cannot hold {batch} products of [{m}, {n}]");
        Require.That((long)m * n <= int.MaxValue || batch == 1, $"products of [{m}, {n}] are too large for a batch");
        Require.That(bias is null || bias.Count == n, $"a bias of {n} elements is needed, it is {bias?.Describe()}");
        Require.That(d is null || d.Count == c.Count, $"{d?.Describe()} cannot be added to {c.Describe()}");
    }

    private static void CheckOperand(Operand o, int batch, string name)
    {
        var size = (long)o.Rows * o.Columns;
        Require.That(o.Tensor.Count == size * (o.PerBatch ? batch : 1), $"{name} {o.Tensor.Describe()} is not [{o.Rows}, {o.Columns}]{(o.PerBatch ? $" for each of {batch} batches" : "")}");
        Require.That(!o.PerBatch || size <= int.MaxValue, $"{name} {o.Tensor.Describe()} has matrices of more than 2^31 elements");
    }
}
