namespace Fla.Vulkan.Ops;

/// <summary>What a gate of channels does to rows before the products (shaders/delta/gated_rows.comp).</summary>
internal static class DeltaChunkGates
{
    private static readonly Kernel<RowArgs> RowKernel = new("delta/gated_rows");

    private readonly record struct RowArgs(In X1, In X2, In X3, In Gate, Out Y1, Out Y2, Out Y3, In Packed, uint N, uint T, uint C, uint H, uint K);

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
}
