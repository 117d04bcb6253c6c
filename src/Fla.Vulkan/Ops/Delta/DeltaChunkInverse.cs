namespace Fla.Vulkan.Ops;

/// <summary>
/// KKT and TRI: M = (I + A)⁻¹ of every chunk, A_rs = β_r e^{Ga_r − G_s} ⟨a_r, k_s⟩ for s &lt; r, under a gate of heads or none (shaders/delta/kkt.comp). The walk over the chunks
/// makes the products with it.
/// </summary>
internal static class DeltaChunkInverse
{
    private static readonly Kernel<Args> Kernel = new("delta/kkt");

    private readonly record struct Args(In A, In K, In Beta, In Gate, Out M, In Q, Out UnitK, Out UnitQ, Out LengthsK, Out LengthsQ, In Packed,
        uint N, uint T, uint C, uint H, uint Width, float Eps);

    /// <summary>Lengths of raw queries and keys, to be found beside M; and rows of length 1 where they are wanted.</summary>
    /// <param name="Q">Raw queries [B,T,H,K].</param>
    /// <param name="UnitK">Where keys of length 1 go, or null.</param>
    /// <param name="UnitQ">Where queries of length 1 go, or null.</param>
    /// <param name="LengthsK">Where 1 / √(Σx² + eps) of keys goes, fp32 [B,T,H]; may be null where there are keys of length 1.</param>
    /// <param name="LengthsQ">The same of queries.</param>
    /// <param name="Eps">Added under the root.</param>
    internal readonly record struct Norms(Tensor Q, Tensor? UnitK, Tensor? UnitQ, Tensor? LengthsK, Tensor? LengthsQ, float Eps)
    {
        /// <summary>Room for what is found of raw queries and keys; with <paramref name="makesRows"/> lengths only where gradients are recorded.</summary>
        public static Norms Of(Tensor q, Tensor k, bool makesRows)
        {
            Tensor? Lengths(Tensor x) => !makesRows || Autograd.IsRecording(x) ? Tensor.Empty(x.Device, DType.Float32, x.Shape[..3]) : null;
            return new(q, makesRows ? Tensor.EmptyLike(k) : null, makesRows ? Tensor.EmptyLike(q) : null, Lengths(k), Lengths(q), Ops.Norms.L2Eps);
        }

        /// <summary>Records the norms that made rows.</summary>
        /// <param name="k">Raw keys.</param>
        public void Record(Tensor k)
        {
            if (LengthsQ is { } q) NormCall.RecordL2Norm(Q, UnitQ!, q);
            if (LengthsK is { } lengths) NormCall.RecordL2Norm(k, UnitK!, lengths);
        }
    }

    /// <summary>M [B,T,H,C].</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="chunk">Tokens of a chunk.</param>
    /// <param name="of">Operands; with <paramref name="norms"/> raw keys, which erase.</param>
    /// <param name="norms">What is found of raw rows on the way, or null.</param>
    public static Tensor Run(LinearShape shape, int chunk, DeltaOperands of, in Norms? norms)
    {
        var device = of.A.Device;
        var m = Tensor.Empty(device, of.A.DType, shape.B, shape.T, shape.H, chunk);
        var isWhole = ChunkTiles.AreWhole(shape.K, shape.K, of.A, of.K, norms?.Q);
        var isSame = ReferenceEquals(of.A, of.K);
        var width = isSame ? shape.K / 2 : shape.K;        // two tiles of the same rows land together
        Kernel.Launch(device,
            new(of.A, of.K, of.Beta, of.Cumulative, m, norms?.Q, norms?.UnitK, norms?.UnitQ, norms?.LengthsK, norms?.LengthsQ, shape.Table(chunk),
                (uint)shape.N, (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)shape.K, norms?.Eps ?? 0),
            new((uint)shape.Chunks(chunk), (uint)shape.H), ChunkTiles.Variant(device, of.A.DType),
            ChunkTiles.Spec(device, Kernel.Shader, of.A.DType, isWhole, (uint)of.Gate, of.ReadsUndecayed ? 1u : 0, isSame ? 1u : 0,
                isWhole && width % ChunkTiles.Size == 0 ? 1u : 0, ChunkTiles.AreDense(shape, chunk), ChunkTiles.Count(shape.K), norms is null ? 0u : norms.Value.UnitK is null ? 1u : 2));
        return m;
    }
}
