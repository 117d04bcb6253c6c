namespace Fla.Vulkan.Ops;

/// <summary>A matrix as it lies in memory: whole tensor, rows of <see cref="Columns"/> elements, read as it is or transposed, once or for every batch.</summary>
/// <param name="Tensor">The elements.</param>
/// <param name="Rows">Rows in memory.</param>
/// <param name="Columns">Columns in memory.</param>
/// <param name="Transposed">The product sees the transpose.</param>
/// <param name="PerBatch">Every batch has its own; otherwise all share one.</param>
/// <param name="Packed">The same, packed before, for several products; null leaves it to the product.</param>
internal readonly record struct Operand(Tensor Tensor, int Rows, int Columns, bool Transposed = false, bool PerBatch = false, PackedOperand? Packed = null)
{
    /// <summary>Whether there is nothing but the packed form.</summary>
    public bool IsPackedAlone => Packed is { } packed && ReferenceEquals(packed.Data, Tensor);

    /// <summary>A left operand [rows, k] that a kernel has made as fragments; products of it are packed ones.</summary>
    public static Operand Of(PackedOperand packed) => new(packed.Data, packed.Rows, packed.K, Packed: packed);

    /// <summary>The right operand of products with m rows, packed now if such products pack theirs.</summary>
    public Operand PackedForRows(int m)
    {
        var (k, n) = Transposed ? (Columns, Rows) : (Rows, Columns);
        return GemmPlan.IsPacked(Tensor.Device, Tensor.DType, 1, m, n, k) ? this with { Packed = PackedOperand.Of(this, isB: true, 1) } : this;
    }
}

/// <summary>
/// Matrix products on the device: C = alpha·op(A)·op(B) + bias + beta·D, accumulated in fp32 (shaders/gemm). Nothing here is recorded on the tape;
/// <see cref="Products"/> has the operators.
/// </summary>
internal static class Gemm
{
    private const uint SumWorkgroup = 256;
    private const int DirectRows = 2;

    private static readonly Kernel<TilesArgs> TilesKernel = new("gemm/gemm");
    private static readonly Kernel<SumArgs> SumKernel = new("gemm/split_sum");
    private static readonly Kernel<DirectArgs> DirectKernel = new("gemm/direct");

    private readonly record struct TilesArgs(In A, In B, In Bias, In D, InOut C, uint M, uint N, uint K, uint Lda, uint Ldb, uint Ldc,
        uint StrideA, uint StrideB, uint Batch, uint Splits, uint KPerSplit, float Alpha, float Beta);

    private readonly record struct DirectArgs(In A, In B, In Bias, In D, InOut C, uint M, uint N, uint K, uint Lda, uint Ldb, uint Ldc,
        uint StrideA, uint StrideB, uint Batch, float Alpha, float Beta);

    private readonly record struct SumArgs(In P, In Bias, In D, InOut C, uint Elements, uint N, uint Batch, uint Splits, uint OutF32, float Alpha, float Beta);

    private readonly record struct Call(Operand A, Operand B, Tensor C, int Batch, float Alpha, Tensor? Bias, Tensor? D, float Beta, int M, int N, int K)
    {
        public ComputeDevice Device => C.Device;

        public string Variant => A.Tensor.DType.Variant();

        public uint IsFloat32 => C.DType == DType.Float32 ? 1u : 0u;

        public uint StrideA => A.PerBatch ? (uint)(A.Rows * A.Columns) : 0;

        public uint StrideB => B.PerBatch ? (uint)(B.Rows * B.Columns) : 0;
    }

    /// <summary>Runs one product.</summary>
    /// <param name="a">op(A) [m,k].</param>
    /// <param name="b">op(B) [k,n], of A's type.</param>
    /// <param name="c">[batch, m, n], in A's type or fp32; overwritten.</param>
    /// <param name="batch">Number of batches.</param>
    /// <param name="alpha">Factor of the product.</param>
    /// <param name="bias">[n] in A's type, added to every row; or null.</param>
    /// <param name="d">Added with the factor <paramref name="beta"/>: like c, may be c itself to accumulate; or null.</param>
    /// <param name="beta">Factor of <paramref name="d"/>.</param>
    /// <param name="route">The kernel; the fastest for device and shape when null.</param>
    /// <exception cref="ShapeException">Sizes do not fit each other, or exceed 2^31 rows, columns or elements of one batch.</exception>
    /// <exception cref="DTypeException">Types do not fit.</exception>
    /// <exception cref="DeviceException">The device has no such route.</exception>
    public static void Run(Operand a, Operand b, Tensor c, int batch = 1, float alpha = 1, Tensor? bias = null, Tensor? d = null, float beta = 1, GemmRoute? route = null)
    {
        var (m, k) = a.Transposed ? (a.Columns, a.Rows) : (a.Rows, a.Columns);
        var (k2, n) = b.Transposed ? (b.Columns, b.Rows) : (b.Rows, b.Columns);
        Check(a, b, c, batch, bias, d, m, n, k, k2);
        if (c.Count == 0) return;
        c.Storage.Version++;
        var call = new Call(a, b, c, batch, alpha, bias, d, beta, m, n, k);
        switch (route ?? GemmPlan.Route(c.Device, a, b, batch, m, n, k))
        {
            case GemmRoute.Skinny:
                RunSkinny(call);
                break;
            case GemmRoute.Direct:
                RunDirect(call);
                break;
            case GemmRoute.Packed:
                RunPacked(call);
                break;
            default:
                RunTiles(call);
                break;
        }
    }

    private static void RunSkinny(in Call x) => new SkinnyProduct
    {
        A = x.A.Tensor, B = x.B.Tensor, C = x.C, M = x.M, N = x.N, K = x.K, Alpha = x.Alpha, Bias = x.Bias, D = x.D, Beta = x.Beta,
    }.Run();

    private static void RunDirect(in Call x)
    {
        var quads = x.N <= 16 ? 4 : x.N <= 32 ? 8 : 16;
        var rowsPerGroup = x.Device.SubgroupSize * DirectRows;
        var groups = (x.M + rowsPerGroup - 1L) / rowsPerGroup * ((x.N + 4L * quads - 1) / (4 * quads)) * x.Batch;
        var isAligned = IsAligned(x.A.Columns, x.A.Tensor) && IsAligned(x.B.Columns, x.B.Tensor);
        DirectKernel.Launch(x.Device, new(x.A.Tensor, x.B.Tensor, x.Bias, x.D, x.C, (uint)x.M, (uint)x.N, (uint)x.K, (uint)x.A.Columns, (uint)x.B.Columns, (uint)x.N,
            x.StrideA, x.StrideB, (uint)x.Batch, x.Alpha, x.Beta), Grid.Linear(groups), x.Variant, (uint)x.Device.SubgroupSize, (uint)quads,
            x.A.Transposed ? 1u : 0, x.B.Transposed ? 1u : 0, x.IsFloat32, isAligned ? 1u : 0, x.N % (4 * quads) != 0 ? 1u : 0);
    }

    private static void RunTiles(in Call x)
    {
        var type = x.A.Tensor.DType;
        var plan = GemmPlan.For(x.Device, type, x.M, x.N, x.K, x.Batch);
        using var partial = plan.Splits > 1 ? Tensor.Empty(x.Device, DType.Float32, x.Batch, plan.Splits, x.M, x.N) : null;
        var alignment = Math.Min(Alignment(x.A.Columns, x.A.Tensor), Alignment(x.B.Columns, x.B.Tensor));
        TilesKernel.Launch(x.Device, new(x.A.Tensor, x.B.Tensor, partial is null ? x.Bias : null, partial is null ? x.D : null, partial ?? x.C, (uint)x.M, (uint)x.N, (uint)x.K,
            (uint)x.A.Columns, (uint)x.B.Columns, (uint)x.N, x.StrideA, x.StrideB, (uint)x.Batch, (uint)plan.Splits, (uint)plan.KPerSplit, x.Alpha, x.Beta),
            Grid.Linear(plan.Tiles * plan.Splits * x.Batch), $"{x.Variant},{TileProduct.Path(x.Device, type)}",
            TileProduct.Spec(x.Device, type, plan.TileM, plan.TileN, (uint)plan.Workgroup,
                x.A.Transposed ? 1u : 0, x.B.Transposed ? 1u : 0, alignment, x.IsFloat32, (uint)plan.Slice, Alignment(x.N, partial ?? x.C, x.Bias, x.D),
                partial is null && x.Bias is not null ? 1u : 0, partial is null && x.D is not null ? 1u : 0, partial is null ? 0u : 1));
        if (partial is not null) Sum(x, plan, partial);
    }

    private static void RunPacked(in Call x)
    {
        if (!PackedProduct.Can(x.Device, x.A.Tensor.DType)) throw new DeviceException($"{x.Device.Name} has no cooperative matrices of eight components a lane for {x.A.Tensor.DType}");
        var plan = GemmPlan.ForPacked(x.Device, x.M, x.N, x.K, x.Batch);
        using var partial = plan.Splits > 1 ? Tensor.Empty(x.Device, DType.Float32, x.Batch, plan.Splits, x.M, x.N) : null;
        using var a = x.A.Packed is null ? PackedOperand.Of(x.A, isB: false, x.Batch) : null;
        using var b = x.B.Packed is null ? PackedOperand.Of(x.B, isB: true, x.Batch) : null;
        PackedProduct.Run(plan, a ?? x.A.Packed!, b ?? x.B.Packed!, partial ?? x.C, x.Batch, x.Alpha, partial is null ? x.Bias : null, partial is null ? x.D : null, x.Beta, Alignment(x.N, partial ?? x.C, x.Bias, x.D));
        if (partial is not null) Sum(x, plan, partial);
    }

    private static void Sum(in Call x, GemmPlan plan, Tensor partial)
    {
        var groups = ((long)x.M * x.N + SumWorkgroup - 1) / SumWorkgroup * x.Batch;
        SumKernel.Launch(x.Device, new(partial, x.Bias, x.D, x.C, (uint)(x.M * x.N), (uint)x.N, (uint)x.Batch, (uint)plan.Splits, x.IsFloat32, x.Alpha, x.Beta),
            Grid.Linear(groups), x.Variant, SumWorkgroup);
    }

    /// <summary>True when rows of this width begin at whole quads in all these tensors.</summary>
    private static bool IsAligned(int width, params ReadOnlySpan<Tensor?> tensors) => Alignment(width, tensors) >= 4;

    /// <summary>Elements at whose multiples rows of this width begin in all these tensors: 8, 4, or 1 for any.</summary>
    internal static uint Alignment(int width, params ReadOnlySpan<Tensor?> tensors)
    {
        var alignment = width % 8 == 0 ? 8u : width % 4 == 0 ? 4u : 1u;
        foreach (var tensor in tensors)
        {
            if (tensor is null) continue;
            // Eight elements of 16 bits are one access; so are four of 32.
            if (alignment == 8 && tensor.Address % 16 != 0) alignment = 4;
            if (alignment == 4 && tensor.Address % (ulong)(4 * tensor.DType.Size()) != 0) alignment = 1;
        }
        return alignment;
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
        if (o.IsPackedAlone) return;
        var size = (long)o.Rows * o.Columns;
        Require.That(o.Tensor.Count == size * (o.PerBatch ? batch : 1), $"{name} {o.Tensor.Describe()} is not [{o.Rows}, {o.Columns}]{(o.PerBatch ? $" for each of {batch} batches" : "")}");
        Require.That(!o.PerBatch || size <= int.MaxValue, $"{name} {o.Tensor.Describe()} has matrices of more than 2^31 elements");
    }
}
