namespace Fla.Vulkan.Ops;

/// <summary>AINTRA: products of the tokens within a chunk under a vector gate, and their gradients (shaders/linear/chunk_intra.comp, chunk_intra_backward.comp).</summary>
internal static class ChunkIntra
{
    private static readonly Kernel<Args> Kernel = new("linear/chunk_intra");
    private static readonly Kernel<BackwardArgs> BackwardKernel = new("linear/chunk_intra_backward");

    private readonly record struct Args(In A, In B, In Gate, Out Scores, In Packed, uint N, uint T, uint C, uint H, uint K, float Scale);

    private readonly record struct BackwardArgs(In Q, In K, In Gate, In Scores, InOut DQ, InOut DK, In Packed, uint N, uint T, uint C, uint H, uint Channels);

    /// <summary>
    /// scale Σ_d a_rd b_sd e^{G_rd − G_sd} for s ≤ r: fp32 [B,T,H,C]. Entries above the diagonal are unspecified. No gate means G = 0. With
    /// <paramref name="isExclusive"/> a is gated by G_{r−1}, and the diagonal is unspecified too.
    /// </summary>
    public static Tensor Scores(LinearShape shape, int chunk, int channels, Tensor a, Tensor b, Tensor? gate, float scale, bool isExclusive = false)
    {
        var device = a.Device;
        var scores = Tensor.Empty(device, DType.Float32, shape.B, shape.T, shape.H, chunk);
        Kernel.Launch(device,
            new(a, b, gate, scores, shape.Table(chunk), (uint)shape.N, (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)channels, scale),
            new((uint)shape.Chunks(chunk), (uint)shape.H), ChunkTiles.Variant(device, a.DType),
            ChunkTiles.Spec(device, a.DType, ChunkTiles.Workgroup(device, a.DType), ChunkTiles.AreWhole(channels, channels, a, b, gate), gate is null ? 0u : 1, isExclusive ? 1u : 0));
        return scores;
    }

    /// <summary>The parts of dq and dk (fp32, overwritten or added to) that come from the products' gradients.</summary>
    public static void Backward(LinearShape shape, int chunk, Tensor q, Tensor k, Tensor gate, Tensor dScores, Tensor dq, Tensor dk, bool isExclusive = false, bool adds = false)
    {
        var device = q.Device;
        BackwardKernel.Launch(device,
            new(q, k, gate, dScores, dq, dk, shape.Table(chunk), (uint)shape.N, (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)shape.K),
            new((uint)shape.Chunks(chunk) * ChunkTiles.Count(shape.K), (uint)shape.H), ChunkTiles.Variant(device, q.DType),
            ChunkTiles.Spec(device, q.DType, ChunkTiles.Workgroup(device, q.DType), ChunkTiles.AreWhole(shape.K, shape.K, q, k, gate, dq, dk), isExclusive ? 1u : 0, adds ? 1u : 0));
    }
}
