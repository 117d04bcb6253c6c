namespace Fla.Vulkan.Ops;

/// <summary>What a gate of channels does to rows before and after the products (shaders/delta/gated_rows.comp, gate_backward.comp).</summary>
internal static class DeltaChunkGates
{
    private const int Workgroup = 64;

    private static readonly Kernel<RowArgs> RowKernel = new("delta/gated_rows");
    private static readonly Kernel<BackwardArgs> BackwardKernel = new("delta/gate_backward");

    private readonly record struct RowArgs(In X1, In X2, In X3, In Gate, Out Y1, Out Y2, Out Y3, In Packed, uint N, uint T, uint C, uint H, uint K);

    private readonly record struct BackwardArgs(In X1, In X2, In Y1, In Y2, In Sum1, In Sum2, In Sum3, In Sum4, Out DX1, Out DX2, Out DY1, Out DY2,
        In Last, Out DG, In Gate, In Inter, In Packed, uint N, uint T, uint C, uint Columns, uint Chunks);

    /// <summary>Rows that write to the state, times e^{G_C − G}, and one that reads it, times e^G.</summary>
    public static (Tensor Writer, Tensor? Writer2, Tensor? Reader) Rows(LinearShape shape, int chunk, Tensor cumulative, Tensor writer, Tensor? writer2 = null, Tensor? reader = null)
    {
        var device = writer.Device;
        var y1 = Tensor.EmptyLike(writer);
        Tensor? y2 = writer2 is null ? null : Tensor.EmptyLike(writer2), y3 = reader is null ? null : Tensor.EmptyLike(reader);
        RowKernel.Launch(device,
            new(writer, writer2, reader, cumulative, y1, y2, y3, shape.Table(chunk), (uint)shape.N, (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)shape.K),
            new((uint)shape.Chunks(chunk), (uint)shape.H), writer.DType.Variant(), 256, ChunkTiles.AreWhole(shape.K, shape.K, writer, writer2, reader, cumulative) ? 1u : 0);
        return (y1, y2, y3);
    }

    /// <summary>A row and the sum of its gradient, fp32.</summary>
    internal readonly record struct Term(Tensor Row, Tensor Sum);

    /// <summary>Rounds the gradients of rows to the storage type and sums up the gate's.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="chunk">Tokens of a chunk.</param>
    /// <param name="q">What reads the state.</param>
    /// <param name="a">What is erased.</param>
    /// <param name="isExclusive">Whether a reads the state before its token's decay.</param>
    /// <param name="k">What writes to the state.</param>
    /// <param name="isSame">Whether a is k; their gradients are added then.</param>
    /// <param name="b">A second writer, or null.</param>
    /// <param name="last">The state leaving each chunk times its gradient, fp32 [chunks,H,K]; with <paramref name="inter"/> the state entering it times that gradient.</param>
    /// <param name="dg">Where the gate's gradient goes, fp32 [B,T,H,K], or null.</param>
    /// <param name="gate">With <paramref name="inter"/> the log decay summed inside each chunk, fp32 [B,T,H,K].</param>
    /// <param name="inter">What k's gradient gets through the state leaving the chunk, fp32 [B,T,H,K], if its sum lacks that; 16-bit states then cost dg nothing.</param>
    /// <returns>The gradients of q, a (null when it is k), k and b.</returns>
    public static (Tensor DQ, Tensor? DA, Tensor DK, Tensor? DB) Backward(LinearShape shape, int chunk, in Term q, in Term a, bool isExclusive, in Term k, bool isSame, Term? b,
        Tensor? last, Tensor? dg, Tensor? gate = null, Tensor? inter = null)
    {
        var device = q.Row.Device;
        Tensor dq = Tensor.EmptyLike(q.Row), dk = Tensor.EmptyLike(k.Row);
        Tensor? da = isSame ? null : Tensor.EmptyLike(a.Row), db = b is { } second ? Tensor.EmptyLike(second.Row) : null;
        var columns = shape.H * shape.K;
        BackwardKernel.Launch(device,
            new(q.Row, a.Row, k.Row, b?.Row, q.Sum, a.Sum, k.Sum, b?.Sum, dq, da, dk, db, last, dg, gate, inter, shape.Table(chunk),
                (uint)shape.N, (uint)shape.T, (uint)chunk, (uint)columns, (uint)shape.Chunks(chunk)),
            Grid.Linear((long)(columns + Workgroup - 1) / Workgroup * shape.Chunks(chunk)), q.Row.DType.Variant(), Workgroup, isExclusive ? 1u : 0, isSame ? 1u : 0);
        return (dq, da, dk, db);
    }
}
