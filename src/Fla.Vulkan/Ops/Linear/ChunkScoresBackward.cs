namespace Fla.Vulkan.Ops;

/// <summary>Gradients of the products of a chunk's readers and writers (shaders/linear/chunk_scores_backward.comp).</summary>
internal static class ChunkScoresBackward
{
    private static readonly Kernel<Args> Kernel = new("linear/chunk_scores_backward");

    private readonly record struct Args(In E, In V, In W, In X, In Beta, Out Scores, Out Diagonal, Out DV, Out DBeta,
        In Values, In A, In Gate, In States, In Products, In Packed,
        uint N, uint T, uint C, uint H, uint Keys, uint Values2, uint Tokens, uint Exclusive, float Scale, float Sign);

    /// <summary>Corrections V~ = M (..), made of what tokens read from the state.</summary>
    /// <param name="X">Mᵀ times the gradient of V~.</param>
    /// <param name="Sign">−1 where what is read is subtracted.</param>
    internal readonly record struct Corrections(Tensor X, float Sign);

    /// <summary>Step sizes, and what their gradient needs where one is next to nothing.</summary>
    /// <param name="Beta">fp32 [B,T,H].</param>
    /// <param name="DBeta">Where its gradient goes.</param>
    /// <param name="DV">Where β X goes, the gradient of V.</param>
    /// <param name="V">Values before the correction.</param>
    /// <param name="A">Erasing rows.</param>
    /// <param name="Gate">Cumulative log decay of channels.</param>
    /// <param name="States">State entering each chunk.</param>
    /// <param name="Products">⟨a_r, k_s⟩, fp32 [B,T,H,C].</param>
    /// <param name="IsExclusive">Whether a reads the state before its token's decay.</param>
    internal readonly record struct Steps(Tensor Beta, Tensor DBeta, Tensor DV, Tensor V, Tensor A, Tensor Gate, Tensor States, Tensor Products, bool IsExclusive);

    /// <summary>Runs it.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="chunk">Tokens of a chunk.</param>
    /// <param name="dO">Gradient of the output.</param>
    /// <param name="scale">Its factor.</param>
    /// <param name="v">Values of the first writer: V~ where it is the only one.</param>
    /// <param name="w">Values of the second writer, or null.</param>
    /// <param name="of">A second reader, or null.</param>
    /// <param name="steps">Step sizes of its corrections, or null for 1.</param>
    /// <returns>What is below the diagonal, zero elsewhere [readers·writers,B,T,H,C] in dO's type, and the first reader's diagonal, fp32 [writers,B,T,H].</returns>
    public static (Tensor Rows, Tensor Diagonal) Run(LinearShape shape, int chunk, Tensor dO, float scale, Tensor v, Tensor? w, Corrections? of, Steps? steps)
    {
        var device = dO.Device;
        int readers = of is null ? 1 : 2, writers = w is null ? 1 : 2;
        var scores = Tensor.Empty(device, dO.DType, readers * writers, shape.B, shape.T, shape.H, chunk);
        var diagonal = Tensor.Empty(device, DType.Float32, writers, shape.B, shape.T, shape.H);
        var isWhole = ChunkTiles.AreWhole(shape.V, shape.V, dO, v, w, of?.X, steps?.DV);
        Kernel.Launch(device,
            new(dO, v, w, of?.X, steps?.Beta, scores, diagonal, steps?.DV, steps?.DBeta, steps?.V, steps?.A, steps?.Gate, steps?.States, steps?.Products, shape.Table(chunk),
                (uint)shape.N, (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)shape.K, (uint)shape.V, (uint)shape.Tokens, steps is { IsExclusive: true } ? 1u : 0,
                scale, of?.Sign ?? 1),
            new((uint)shape.Chunks(chunk), (uint)shape.H), ChunkTiles.Variant(device, dO.DType),
            ChunkTiles.Spec(device, Kernel.Shader, dO.DType, isWhole, (uint)writers, of is null ? 0u : 1,
                ChunkTiles.AreFull(isWhole, shape.V, shape.V), ChunkTiles.AreDense(shape, chunk), ChunkTiles.Count(shape.V)));
        return (scores, diagonal);
    }
}
