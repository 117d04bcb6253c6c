namespace Fla.Vulkan.Ops;

/// <summary>Gradients through the WY form of a chunk's corrections, in plain arithmetic (shaders/delta/wy_backward.comp).</summary>
internal static class DeltaChunkWyBackward
{
    private static readonly Kernel<Args> Kernel = new("delta/wy_backward");

    private readonly record struct Args(In X, In Values, In States, In A, In K, In V, In Beta, In Gate,
        Out DV, Out DA, InOut DK, Out DBeta, InOut DRows, InOut DColumns, In Packed, uint N, uint T, uint C, uint H, uint KeyWidth, uint ValueWidth);

    /// <summary>Under a decay of heads or none.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="chunk">Tokens of a chunk.</param>
    /// <param name="of">Operands of the forward.</param>
    /// <param name="values">Corrected values [B,T,H,V].</param>
    /// <param name="states">State entering each chunk.</param>
    /// <param name="x">Mᵀ times the gradient of the corrected values.</param>
    /// <param name="dv">Where that of v goes.</param>
    /// <param name="da">Where that of a goes; null when a is k.</param>
    /// <param name="dk">Added to: that of k, and of a when it is k.</param>
    /// <param name="dBeta">Where that of beta goes, fp32, or null.</param>
    /// <param name="dRows">With a decay, added to: a·da, of the row that reads G of a token, fp32 [B,T,H].</param>
    /// <param name="dColumns">With a decay, added to: k·dk.</param>
    public static void Run(LinearShape shape, int chunk, DeltaOperands of, Tensor values, Tensor states, Tensor x,
        Tensor dv, Tensor? da, Tensor dk, Tensor? dBeta, Tensor? dRows, Tensor? dColumns)
    {
        var device = of.A.Device;
        var isWhole = ChunkTiles.AreWhole(shape.K, shape.V, of.A, of.K, of.V, x, values, states, dv, da, dk);
        Kernel.Launch(device,
            new(x, values, states, of.A, of.K, of.V, of.Beta, of.Cumulative, dv, da, dk, dBeta, dRows, dColumns, shape.Table(chunk),
                (uint)shape.N, (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)shape.K, (uint)shape.V),
            new((uint)shape.Chunks(chunk), (uint)shape.H), $"{of.A.DType.Variant()},MM=plain",
            TileProduct.Spec(device, of.A.DType, ChunkTiles.Size, ChunkTiles.Size, device.IsCpu ? 128u : 256, isWhole ? 1u : 0, 32,
                (uint)of.Gate, of.ReadsUndecayed ? 1u : 0, da is null ? 1u : 0, ChunkTiles.Count(shape.K), ChunkTiles.AreDense(shape, chunk)));
    }
}
