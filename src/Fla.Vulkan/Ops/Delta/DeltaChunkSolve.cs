namespace Fla.Vulkan.Ops;

/// <summary>TRI: the inverse of a chunk's corrections under a gate of channels, from products that were made before (shaders/delta/solve.comp).</summary>
internal static class DeltaChunkSolve
{
    private static readonly Kernel<Args> Kernel = new("delta/solve");

    private readonly record struct Args(In A, In V, In Beta, In Scores, In Second, Out M, Out W, Out U, In Packed, uint N, uint T, uint C, uint H, uint KeyWidth, uint ValueWidth, float Sign);

    /// <summary>M = (I + A)⁻¹ [B,T,H,C], A_rs = β_r ⟨a_r, k_s⟩ for s &lt; r.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="chunk">Tokens of a chunk.</param>
    /// <param name="type">Type of M.</param>
    /// <param name="scores">⟨a_r, k_s⟩, fp32 [B,T,H,C].</param>
    /// <param name="beta">fp32 [B,T,H], or null for 1.</param>
    public static Tensor Run(LinearShape shape, int chunk, DType type, Tensor scores, Tensor? beta) => Launch(shape, chunk, type, scores, beta, 1, null, null, null, null, null);

    /// <summary>M, and W = M (β a) [B,T,H,K] and U = M (β v) [B,T,H,V].</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="chunk">Tokens of a chunk.</param>
    /// <param name="a">Erasing rows with their decay [B,T,H,K].</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="scores">⟨a_r, k_s⟩, fp32 [B,T,H,C].</param>
    /// <param name="beta">fp32 [B,T,H], or null for 1.</param>
    public static (Tensor M, Tensor W, Tensor U) Products(LinearShape shape, int chunk, Tensor a, Tensor v, Tensor scores, Tensor? beta)
    {
        Tensor w = Tensor.EmptyLike(a), u = Tensor.EmptyLike(v);
        return (Launch(shape, chunk, v.DType, scores, beta, 1, null, a, v, w, u), w, u);
    }

    /// <summary>The generalized rule: M = (I − A_ab)⁻¹ and U = A_ak v.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="chunk">Tokens of a chunk.</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="ab">⟨a_r, b_s⟩, fp32 [B,T,H,C].</param>
    /// <param name="ak">⟨a_r, k_s⟩ for s &lt; r, else zero [B,T,H,C].</param>
    public static (Tensor M, Tensor U) Generalized(LinearShape shape, int chunk, Tensor v, Tensor ab, Tensor ak)
    {
        var u = Tensor.EmptyLike(v);
        return (Launch(shape, chunk, v.DType, ab, null, -1, ak, null, v, null, u), u);
    }

    private static Tensor Launch(LinearShape shape, int chunk, DType type, Tensor scores, Tensor? beta, float sign, Tensor? second, Tensor? a, Tensor? v, Tensor? w, Tensor? u)
    {
        var device = scores.Device;
        var m = Tensor.Empty(device, type, shape.B, shape.T, shape.H, chunk);
        var isWhole = v is null || ChunkTiles.AreWhole(a is null ? shape.V : shape.K, shape.V, a, v, w, u);
        Kernel.Launch(device,
            new(a, v, beta, scores, second, m, w, u, shape.Table(chunk), (uint)shape.N, (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)shape.K, (uint)shape.V, sign),
            new((uint)shape.Chunks(chunk), (uint)shape.H), ChunkTiles.Variant(device, type),
            ChunkTiles.Spec(device, Kernel.Shader, type, isWhole, second is null ? 0u : 1, ChunkTiles.AreFull(isWhole, a is null ? shape.V : shape.K, shape.V), ChunkTiles.AreDense(shape, chunk), a is null ? 0u : 1));
        return m;
    }
}
