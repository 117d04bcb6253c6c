namespace Fla.Vulkan.Ops;

/// <summary>AINTRA: products of the tokens within a chunk under a vector gate, and their gradients (shaders/linear/chunk_intra.comp, chunk_intra_backward.comp).</summary>
internal static class ChunkIntra
{
    private static readonly Kernel<Args> Kernel = new("linear/chunk_intra");
    private static readonly Kernel<BackwardArgs> BackwardKernel = new("linear/chunk_intra_backward");

    private readonly record struct Args(In A, In B, In Gate, Out Scores, In Packed, uint N, uint T, uint C, uint H, uint K, float Scale);

    private readonly record struct BackwardArgs(In Q, In K, In V, In DO, In Gate, In Scores, In States, In StateGradients, In Last, InOut DQ, InOut DK, Out DG, In Packed,
        uint N, uint T, uint C, uint H, uint Widths, float Scale);

    /// <summary>
    /// scale Σ_d a_rd b_sd e^{G_rd − G_sd} for s ≤ r: fp32 [B,T,H,C]. Entries above the diagonal are unspecified. No gate means G = 0. With
    /// <paramref name="isExclusive"/> a is gated by G_{r−1}, and the diagonal is unspecified too.
    /// </summary>
    public static Tensor Scores(LinearShape shape, int chunk, int channels, Tensor a, Tensor b, Tensor? gate, float scale, bool isExclusive = false)
    {
        var device = a.Device;
        var scores = Tensor.Empty(device, DType.Float32, shape.B, shape.T, shape.H, chunk);
        var isWhole = ChunkTiles.AreWhole(channels, channels, a, b, gate);
        Kernel.Launch(device,
            new(a, b, gate, scores, shape.Table(chunk), (uint)shape.N, (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)channels, scale),
            new((uint)shape.Chunks(chunk), (uint)shape.H), ChunkTiles.Variant(device, a.DType),
            ChunkTiles.Spec(device, Kernel.Shader, a.DType, isWhole, gate is null ? 0u : 1, isExclusive ? 1u : 0,
                ChunkTiles.Slices(device, Kernel.Shader, a.DType, channels), ChunkTiles.AreFull(isWhole, channels, channels)));
        return scores;
    }

    /// <summary>The parts of dq and dk (fp32, overwritten or added to) that come from the products' gradients.</summary>
    public static void Backward(LinearShape shape, int chunk, Tensor q, Tensor k, Tensor gate, Tensor dScores, Tensor dq, Tensor dk, bool isExclusive = false, bool adds = false) =>
        LaunchBackward(shape, chunk, q, k, null, null, gate, dScores, null, null, null, dq, dk, null, 1, isExclusive, adds);

    /// <summary>All of dq and dk, in q's type, and of the gate's gradient: through the products within the chunk and through the states.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="chunk">Tokens of a chunk.</param>
    /// <param name="q">Queries.</param>
    /// <param name="k">Keys.</param>
    /// <param name="v">Values.</param>
    /// <param name="dO">Gradient of the output.</param>
    /// <param name="gate">Cumulative log decay, fp32 [B,T,H,K].</param>
    /// <param name="dScores">Gradient of the products, fp32 [B,T,H,C].</param>
    /// <param name="states">State entering each chunk, in q's type.</param>
    /// <param name="gradients">Gradient of the state leaving each chunk, in q's type.</param>
    /// <param name="last">What each chunk's last gate gets through the state, fp32 [chunks,H,K]; with <paramref name="dg"/>.</param>
    /// <param name="dq">Gradient of q, overwritten.</param>
    /// <param name="dk">Gradient of k, overwritten.</param>
    /// <param name="dg">Gradient of the gate, fp32, overwritten; or null.</param>
    /// <param name="scale">Factor of q.</param>
    public static void Gradients(LinearShape shape, int chunk, Tensor q, Tensor k, Tensor v, Tensor dO, Tensor gate, Tensor dScores, Tensor states, Tensor gradients,
        Tensor? last, Tensor dq, Tensor dk, Tensor? dg, float scale) =>
        LaunchBackward(shape, chunk, q, k, v, dO, gate, dScores, states, gradients, last, dq, dk, dg, scale);

    private static void LaunchBackward(LinearShape shape, int chunk, Tensor q, Tensor k, Tensor? v, Tensor? dO, Tensor gate, Tensor dScores, Tensor? states, Tensor? gradients,
        Tensor? last, Tensor dq, Tensor dk, Tensor? dg, float scale, bool isExclusive = false, bool adds = false)
    {
        var device = q.Device;
        var isWhole = ChunkTiles.AreWhole(shape.K, states is null ? shape.K : shape.V, q, k, v, dO, gate, states, gradients, dq, dk);
        BackwardKernel.Launch(device,
            new(q, k, v, dO, gate, dScores, states, gradients, last, dq, dk, dg, shape.Table(chunk),
                (uint)shape.N, (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)(shape.K | shape.V << 16), scale),
            new((uint)shape.Chunks(chunk) * ChunkTiles.Count(shape.K), (uint)shape.H), ChunkTiles.Variant(device, q.DType),
            ChunkTiles.Spec(device, BackwardKernel.Shader, q.DType, isWhole,
                isExclusive ? 1u : 0, adds ? 1u : 0, states is null ? 0u : 1, ChunkTiles.Slices(device, BackwardKernel.Shader, q.DType, shape.V),
                ChunkTiles.AreFull(isWhole, shape.K, states is null ? shape.K : shape.V)));
    }
}
