namespace Fla.Vulkan.Ops;

/// <summary>Gradients of what tokens give and take under a gate of channels: all that reach a chunk's rows of keys, and the gate (shaders/linear/chunk_gradients.comp).</summary>
internal static class ChunkGradients
{
    private static readonly Kernel<Args> Kernel = new("linear/chunk_gradients");

    private readonly record struct Args(In Q, In A, In K, In B, In EQ, In EA, In VK, In VB, In Gate, In Scores, In Diagonal, In States, In StateGradients,
        Out DQ, Out DA, Out DK, Out DB, Out DG, In Packed, uint N, uint T, uint C, uint H, uint Keys, uint Values, uint Tokens, float Scale, float Sign);

    /// <summary>A row that reads the state, or that writes to it.</summary>
    /// <param name="Row">Queries, keys or their like [B,T,H,K].</param>
    /// <param name="Side">[B,T,H,V]: of a reader the gradient of what it reads, of a writer the values that it writes.</param>
    internal readonly record struct Term(Tensor Row, Tensor Side);

    /// <summary>Runs it.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="chunk">Tokens of a chunk.</param>
    /// <param name="q">Queries and dO.</param>
    /// <param name="a">A second reader, or null; its gradient of the scores is strictly lower.</param>
    /// <param name="isExclusive">Whether a reads the state before its token's decay.</param>
    /// <param name="k">Keys and their values.</param>
    /// <param name="b">A second writer, or null.</param>
    /// <param name="gate">Cumulative log decay, fp32 [B,T,H,K].</param>
    /// <param name="scores">Gradients of the products of readers and writers (<see cref="ChunkScoresBackward"/>).</param>
    /// <param name="states">State entering each chunk, in q's type.</param>
    /// <param name="gradients">Gradient of the state leaving each chunk, in q's type.</param>
    /// <param name="scale">Factor of dO.</param>
    /// <param name="sign">Factor of a's side.</param>
    /// <param name="needsG">Whether the gate's gradient is wanted.</param>
    /// <returns>Gradients in q's type: of q, of a (null when it is k: both are in DK then), of k and b; and of the gate, fp32.</returns>
    public static (Tensor DQ, Tensor? DA, Tensor DK, Tensor? DB, Tensor? DG) Run(LinearShape shape, int chunk, Term q, Term? a, bool isExclusive, Term k, Term? b, Tensor gate,
        (Tensor Rows, Tensor Diagonal) scores, Tensor states, Tensor gradients, float scale, float sign, bool needsG)
    {
        var device = q.Row.Device;
        var isSame = ReferenceEquals(a?.Row, k.Row);
        Tensor dq = Tensor.EmptyLike(q.Row), dk = Tensor.EmptyLike(k.Row);
        Tensor? da = a is null || isSame ? null : Tensor.EmptyLike(q.Row), db = b is null ? null : Tensor.EmptyLike(k.Row);
        var dg = needsG ? Tensor.EmptyLike(gate) : null;
        var isWhole = ChunkTiles.AreWhole(shape.K, shape.V, q.Row, q.Side, a?.Row, a?.Side, k.Row, k.Side, b?.Row, b?.Side, gate, states, gradients);
        Kernel.Launch(device,
            new(q.Row, a?.Row, k.Row, b?.Row, q.Side, a?.Side, k.Side, b?.Side, gate, scores.Rows, scores.Diagonal, states, gradients, dq, da, dk, db, dg, shape.Table(chunk),
                (uint)shape.N, (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)shape.K, (uint)shape.V, (uint)shape.Tokens, scale, sign),
            new((uint)shape.Chunks(chunk) * ChunkTiles.Count(shape.K), (uint)shape.H), ChunkTiles.Variant(device, q.Row.DType),
            ChunkTiles.Spec(device, Kernel.Shader, q.Row.DType, isWhole, a is null ? 1u : 2, b is null ? 1u : 2, isExclusive ? 1u : 0, isSame ? 1u : 0,
                ChunkTiles.AreFull(isWhole, shape.K, shape.V), ChunkTiles.AreDense(shape, chunk), ChunkTiles.Count(shape.K), ChunkTiles.Count(shape.V)));
        return (dq, da, dk, db, dg);
    }
}
