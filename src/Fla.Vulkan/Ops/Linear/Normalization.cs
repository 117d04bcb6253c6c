namespace Fla.Vulkan.Ops;

/// <summary>
/// NORM: linear attention's division by scale · q·z + 1e-10, z the running sum of keys in fp32 (shaders/linear/normalize.comp).
/// The sum is computed again in backward rather than kept.
/// </summary>
internal static class Normalization
{
    private const int RowsPerWorkgroup = 8;
    private const uint Workgroup = 32 * RowsPerWorkgroup;

    private static readonly Kernel<ForwardArgs> Forward = new("linear/normalize");
    private static readonly Kernel<BackwardArgs> BackwardKernel = new("linear/normalize_backward");

    private readonly record struct ForwardArgs(In Q, In Z, In O, Out Y, Out Den, uint Rows, uint K, uint V, float Scale);

    private readonly record struct BackwardArgs(In Q, In Z, In Y, In DY, In Den, Out DO, Out DQ, Out DZ, uint Rows, uint K, uint V, float Scale);

    private sealed record Saved(LinearShape Shape, float Scale, bool Reverse);

    /// <summary>Divides o; returns it and the sum of all keys [N,1,H,K].</summary>
    public static (Tensor Y, Tensor FinalNormalizer) Run(LinearShape shape, Tensor o, Tensor q, Tensor k, float scale, Tensor? initial, bool reverse)
    {
        using var scope = new TensorScope();
        if (initial is { } given && given.DType != DType.Float32) initial = given.To(DType.Float32);
        var device = q.Device;
        var z = Tensor.Empty(device, DType.Float32, q.Shape);
        var total = Tensor.Empty(device, DType.Float32, shape.N, 1, shape.H, shape.K);
        ChunkCumsum.Parallel(shape, new(k), shape.H * shape.K, z, Order(reverse), initial, total);
        var y = Tensor.EmptyLike(o);
        var den = Tensor.Empty(device, DType.Float32, shape.B, shape.T, shape.H);
        var rows = (long)shape.Tokens * shape.H;
        Forward.Launch(device, new(q, z, o, y, den, (uint)rows, (uint)shape.K, (uint)shape.V, scale), Grid.Over(rows, RowsPerWorkgroup), q.DType.Variant(), Workgroup);
        if (Autograd.IsRecording(o, q, k, initial))
        {
            Autograd.Record("normalize", [o, q, k, initial], [y, total], [q, k, y, den, initial], Backward, new Saved(shape, scale, reverse));
        }
        return (scope.Keep(y), scope.Keep(total));
    }

    private static Tensor?[] Backward(BackwardContext ctx, Tensor?[] dy)
    {
        Tensor q = ctx.Saved(0)!, k = ctx.Saved(1)!, y = ctx.Saved(2)!, den = ctx.Saved(3)!;
        var (shape, scale, reverse) = ctx.State<Saved>();
        var device = q.Device;
        var given = dy[0]?.To(q.DType) ?? Tensor.Zeros(device, q.DType, y.Shape);
        var columns = shape.H * shape.K;
        var z = Tensor.Empty(device, DType.Float32, q.Shape);
        using var total = Tensor.Empty(device, DType.Float32, shape.N, columns);
        ChunkCumsum.Parallel(shape, new(k), columns, z, Order(reverse), ctx.Saved(4), total);

        Tensor dO = Tensor.EmptyLike(y), dq = Tensor.EmptyLike(q), dz = Tensor.Empty(device, DType.Float32, q.Shape), dk = Tensor.EmptyLike(k, DType.Float32);
        var rows = (long)shape.Tokens * shape.H;
        BackwardKernel.Launch(device, new(q, z, y, given, den, dO, dq, dz, (uint)rows, (uint)shape.K, (uint)shape.V, scale),
            Grid.Over(rows, RowsPerWorkgroup), q.DType.Variant(), Workgroup);
        var dinitial = Tensor.Empty(device, DType.Float32, shape.N, 1, shape.H, shape.K);
        ChunkCumsum.Parallel(shape, new(dz), columns, dk, Order(!reverse), dy[1]?.To(DType.Float32), dinitial);
        return [dO, dq, dk.To(k.DType), ctx.Needs(3) ? dinitial : null];
    }

    private static ChunkCumsum.Order Order(bool reverse) => reverse ? ChunkCumsum.Order.Reverse : ChunkCumsum.Order.Forward;
}
