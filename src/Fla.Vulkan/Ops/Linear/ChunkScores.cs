namespace Fla.Vulkan.Ops;

/// <summary>CUM and AINTRA: what the tokens of a chunk are to each other under a gate of channels, and their rows with its decay (shaders/linear/chunk_scores.comp).</summary>
/// <param name="Gate">Cumulative log decay in the chunk, fp32 [B,T,H,K]; of a chunk's tokens but the last unspecified, unless they were asked for.</param>
/// <param name="QK">scale ⟨q_r, k_s⟩ with the decay from s to r [B,T,H,C], zero above the diagonal.</param>
/// <param name="QB">The same of the second writer, or null.</param>
/// <param name="AK">⟨a_r, k_s⟩ of the second reader, or null, in fp32; unspecified above the diagonal, and on it if the reader is exclusive. With a second writer in q's type, zero from the diagonal on.</param>
/// <param name="AB">⟨a_r, b_s⟩, or null, in fp32; unspecified from the diagonal on.</param>
/// <param name="Queries">e^G q.</param>
/// <param name="Erasers">e^G a, or null.</param>
/// <param name="Keys">e^{G_C − G} k.</param>
/// <param name="SecondKeys">e^{G_C − G} b, or null.</param>
internal sealed record ChunkScores(Tensor Gate, Tensor QK, Tensor? QB, Tensor? AK, Tensor? AB, Tensor Queries, Tensor? Erasers, Tensor Keys, Tensor? SecondKeys)
{
    private static readonly Kernel<Args> Kernel = new("linear/chunk_scores");

    /// <summary>Invocations that a workgroup has at least where it makes four products: half as many had not the registers.</summary>
    private const uint LeastOfTwoWriters = 256;

    private readonly record struct Args(In Q, In A, In K, In B, In G, Out Gate, Out QK, Out QB, Out AK, Out AB, Out Readers, Out Writers, In Packed,
        uint N, uint T, uint C, uint H, uint Width, float Scale);

    /// <summary>Runs it.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="chunk">Tokens of a chunk.</param>
    /// <param name="q">Queries.</param>
    /// <param name="a">A second reader, or null.</param>
    /// <param name="isExclusive">Whether a is gated by G_{r−1}.</param>
    /// <param name="k">Keys.</param>
    /// <param name="b">A second writer, or null.</param>
    /// <param name="g">Log decay [B,T,H,K], any float type.</param>
    /// <param name="scale">Factor of q.</param>
    /// <param name="areUnit">Whether q and k are divided by their lengths first; a is k then, and there is no b.</param>
    /// <param name="keepsGate">Whether <see cref="Gate"/> is wanted of all tokens.</param>
    public static ChunkScores Of(LinearShape shape, int chunk, Tensor q, Tensor? a, bool isExclusive, Tensor k, Tensor? b, Tensor g, float scale, bool areUnit, bool keepsGate)
    {
        var device = q.Device;
        Require.That(!areUnit || ((a is null || ReferenceEquals(a, k)) && b is null), "rows of length 1 are made of q and k alone");
        Tensor Products(DType type) => Tensor.Empty(device, type, shape.B, shape.T, shape.H, chunk);
        int readers = a is null ? 1 : 2, writers = b is null ? 1 : 2;
        using var reading = Tensor.Empty(device, q.DType, readers, shape.B, shape.T, shape.H, shape.K);
        using var writing = Tensor.Empty(device, q.DType, writers, shape.B, shape.T, shape.H, shape.K);
        Tensor? Rows(Tensor all, int i)
        {
            if (i == all.Size(0)) return null;
            using var part = all.Narrow(i, 1);
            return part.View(all.Shape[1..]);
        }

        var to = new ChunkScores(Tensor.Empty(device, DType.Float32, shape.B, shape.T, shape.H, shape.K), Products(q.DType), b is null ? null : Products(q.DType),
            a is null ? null : Products(b is null ? DType.Float32 : q.DType), a is null || b is null ? null : Products(DType.Float32), Rows(reading, 0)!, Rows(reading, 1), Rows(writing, 0)!, Rows(writing, 1));
        var isWhole = ChunkTiles.AreWhole(shape.K, shape.K, q, a, k, b, g, to.Gate);
        var spec = ChunkTiles.Spec(device, a is null ? Kernel.Shader : $"{Kernel.Shader}.erasing", q.DType, isWhole, (uint)readers, (uint)writers, isExclusive ? 1u : 0, ReferenceEquals(a, k) ? 1u : 0, areUnit ? 1u : 0,
            ChunkTiles.AreFull(isWhole, shape.K, shape.K), ChunkTiles.AreDense(shape, chunk), ChunkTiles.Count(shape.K), RowLayout.TypeCode(g), keepsGate ? 1u : 0);
        if (writers > 1) spec[0] = Math.Max(spec[0], LeastOfTwoWriters);
        Kernel.Launch(device,
            new(q, a, k, b, g, to.Gate, to.QK, to.QB, to.AK, to.AB, reading, writing, shape.Table(chunk),
                (uint)shape.N, (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)shape.K, scale),
            new((uint)shape.Chunks(chunk), (uint)shape.H), ChunkTiles.Variant(device, q.DType), spec);
        return to;
    }
}
