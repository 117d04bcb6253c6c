namespace Fla.Vulkan.Ops;

/// <summary>AINTRA: products of the tokens within a chunk under a gate of channels (shaders/linear/chunk_scores.comp).</summary>
/// <param name="QK">scale ⟨q_r, k_s⟩ with the decay from s to r, fp32 [B,T,H,C]. Entries above the diagonal are unspecified.</param>
/// <param name="QB">The same of the second writer, or null.</param>
/// <param name="AK">⟨a_r, k_s⟩ of the second reader, or null; the diagonal is unspecified too if it is exclusive.</param>
/// <param name="AB">⟨a_r, b_s⟩, or null.</param>
/// <param name="Keys">e^{G_C − G} k, or null.</param>
/// <param name="SecondKeys">e^{G_C − G} b, or null.</param>
internal sealed record ChunkScores(Tensor QK, Tensor? QB, Tensor? AK, Tensor? AB, Tensor? Keys, Tensor? SecondKeys)
{
    private static readonly Kernel<Args> Kernel = new("linear/chunk_scores");

    private readonly record struct Args(In Q, In A, In K, In B, In Gate, Out QK, Out QB, Out AK, Out AB, Out GatedK, Out GatedB, In Packed,
        uint N, uint T, uint C, uint H, uint Width, float Scale);

    /// <summary>Runs it.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="chunk">Tokens of a chunk.</param>
    /// <param name="q">Queries.</param>
    /// <param name="a">A second reader, or null.</param>
    /// <param name="isExclusive">Whether a is gated by G_{r−1}.</param>
    /// <param name="k">Keys.</param>
    /// <param name="b">A second writer, or null.</param>
    /// <param name="gate">Cumulative log decay, fp32 [B,T,H,K].</param>
    /// <param name="scale">Factor of q.</param>
    /// <param name="gatesWriters">Whether <see cref="Keys"/> and <see cref="SecondKeys"/> are wanted.</param>
    public static ChunkScores Of(LinearShape shape, int chunk, Tensor q, Tensor? a, bool isExclusive, Tensor k, Tensor? b, Tensor gate, float scale, bool gatesWriters = false)
    {
        var device = q.Device;
        Tensor Products() => Tensor.Empty(device, DType.Float32, shape.B, shape.T, shape.H, chunk);
        var to = new ChunkScores(Products(), b is null ? null : Products(), a is null ? null : Products(), a is null || b is null ? null : Products(),
            gatesWriters ? Tensor.EmptyLike(k) : null, gatesWriters && b is not null ? Tensor.EmptyLike(k) : null);
        var isWhole = ChunkTiles.AreWhole(shape.K, shape.K, q, a, k, b, gate);
        Kernel.Launch(device,
            new(q, a, k, b, gate, to.QK, to.QB, to.AK, to.AB, to.Keys, to.SecondKeys, shape.Table(chunk), (uint)shape.N, (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)shape.K, scale),
            new((uint)shape.Chunks(chunk), (uint)shape.H), ChunkTiles.Variant(device, q.DType),
            ChunkTiles.Spec(device, Kernel.Shader, q.DType, isWhole, a is null ? 1u : 2, b is null ? 1u : 2, isExclusive ? 1u : 0, ReferenceEquals(a, k) ? 1u : 0, gatesWriters ? 1u : 0,
                ChunkTiles.AreFull(isWhole, shape.K, shape.K), ChunkTiles.AreDense(shape, chunk), ChunkTiles.Count(shape.K)));
        return to;
    }
}
