namespace Fla.Vulkan.Ops;

/// <summary>The kind of decay that the delta kernels are specialised for (shaders/delta/gates.glsl).</summary>
internal enum DeltaGate : uint
{
    None,
    Heads,
    Channels,
}

/// <summary>What a chunk's tokens erase and write, and the decay between them.</summary>
/// <param name="A">Erasing rows [B,T,H,K].</param>
/// <param name="K">Keys [B,T,H,K].</param>
/// <param name="V">Values [B,T,H,V].</param>
/// <param name="Beta">fp32 [B,T,H], or null for 1.</param>
/// <param name="Cumulative">Log decay summed inside each chunk, fp32 [B,T,H] or [B,T,H,K], or null.</param>
/// <param name="ReadsUndecayed">Whether a token reads the state before its own decay.</param>
internal sealed record DeltaOperands(Tensor A, Tensor K, Tensor V, Tensor? Beta, Tensor? Cumulative, bool ReadsUndecayed)
{
    /// <summary>Kind of the decay.</summary>
    public DeltaGate Gate => Cumulative is null ? DeltaGate.None : Cumulative.Rank == 3 ? DeltaGate.Heads : DeltaGate.Channels;
}

/// <summary>KKT, TRI and WU: the corrections of a chunk's tokens under a gate of channels, all at once (shaders/delta/wy.comp).</summary>
/// <param name="M">(I + A)⁻¹ [B,T,H,C], A_rs = β_r ⟨a_r, k_s⟩ for s &lt; r.</param>
/// <param name="W">M (β e^G ⊙ a) [B,T,H,K].</param>
/// <param name="U">M (β v) [B,T,H,V].</param>
internal readonly record struct DeltaChunkWy(Tensor M, Tensor W, Tensor U)
{
    private static readonly Kernel<Args> Kernel = new("delta/wy");

    private readonly record struct Args(In A, In V, In Beta, In Gate, In Scores, In Second, InOut M, Out W, Out U, Out MA, In Packed,
        uint N, uint T, uint C, uint H, uint KeyWidth, uint ValueWidth, float Sign);

    /// <summary>Gives W and U back, not M.</summary>
    public void Release()
    {
        W.Dispose();
        U.Dispose();
    }

    /// <summary>Under a gate of channels, from the products of a and k.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="chunk">Tokens of a chunk.</param>
    /// <param name="of">Operands.</param>
    /// <param name="scores">⟨a_r, k_s⟩, fp32 [B,T,H,C]; of no use where M is known.</param>
    /// <param name="inverse">M, if it is known already.</param>
    public static DeltaChunkWy Of(LinearShape shape, int chunk, DeltaOperands of, Tensor? scores, Tensor? inverse = null)
    {
        var m = inverse ?? Tensor.Empty(of.A.Device, of.A.DType, shape.B, shape.T, shape.H, chunk);
        Tensor w = Tensor.EmptyLike(of.A), u = Tensor.EmptyLike(of.V);
        Launch(shape, chunk, of, inverse is not null, scores, 1, null, null, m, w, u);
        return new(m, w, u);
    }

    /// <summary>The generalized rule: M = (I − A_ab)⁻¹, W = M (a e^G), U = (M A_ak) v.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="chunk">Tokens of a chunk.</param>
    /// <param name="of">Operands.</param>
    /// <param name="ab">⟨a_r, b_s⟩, fp32 [B,T,H,C].</param>
    /// <param name="ak">⟨a_r, k_s⟩, fp32 [B,T,H,C].</param>
    /// <param name="mak">Where M A_ak goes [B,T,H,C], of M's type.</param>
    /// <param name="inverse">M, if it is known already.</param>
    public static DeltaChunkWy Generalized(LinearShape shape, int chunk, DeltaOperands of, Tensor? ab, Tensor ak, Tensor mak, Tensor? inverse = null)
    {
        var m = inverse ?? Tensor.Empty(of.A.Device, of.A.DType, shape.B, shape.T, shape.H, chunk);
        Tensor w = Tensor.EmptyLike(of.A), u = Tensor.EmptyLike(of.V);
        Launch(shape, chunk, of, inverse is not null, ab, -1, ak, mak, m, w, u);
        return new(m, w, u);
    }

    private static void Launch(LinearShape shape, int chunk, DeltaOperands of, bool isGiven, Tensor? scores, float sign, Tensor? second, Tensor? product,
        Tensor m, Tensor w, Tensor u)
    {
        var device = of.A.Device;
        var isWhole = ChunkTiles.AreWhole(shape.K, shape.V, of.A, of.V, of.Cumulative);
        Kernel.Launch(device,
            new(of.A, of.V, of.Beta, of.Cumulative, scores, second, m, w, u, product, shape.Table(chunk),
                (uint)shape.N, (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)shape.K, (uint)shape.V, sign),
            new((uint)shape.Chunks(chunk), (uint)shape.H), ChunkTiles.Variant(device, of.A.DType),
            ChunkTiles.Spec(device, Kernel.Shader, of.A.DType, isWhole, isGiven ? 1u : 0, of.ReadsUndecayed ? 1u : 0, second is null ? 0u : 1,
                ChunkTiles.AreFull(isWhole, shape.K, shape.V), ChunkTiles.AreDense(shape, chunk), of.Cumulative is null ? 1u : 0));
    }
}
