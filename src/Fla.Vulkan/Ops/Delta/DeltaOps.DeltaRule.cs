namespace Fla.Vulkan.Ops;

public static partial class DeltaOps
{
    /// <summary>The delta rule (Schlag et al. 2021; Yang et al. 2024), in chunks: S ← S + k β(v − Sᵀk)ᵀ, o = scale · Sᵀ q.</summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K]; of unit length, or the memory grows.</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="beta">Step sizes [B,T,H], any float type.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,H,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="useQkL2NormInKernel">Divides q and k by their length.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="chunkSize">Tokens of a chunk: 16, 32 or 64; changes speed, not results.</param>
    /// <returns>o [B,T,H,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together, or another chunk size.</exception>
    /// <exception cref="DTypeException">q, k, v of different types, or not floats.</exception>
    public static (Tensor O, Tensor? FinalState) ChunkDeltaRule(Tensor q, Tensor k, Tensor v, Tensor beta, float? scale = null, Tensor? initialState = null,
        bool outputFinalState = false, bool useQkL2NormInKernel = false, CuSeqlens? cuSeqlens = null, int chunkSize = ChunkTiles.Size)
    {
        CheckHeadSteps(beta);
        return Delta(q, k, v, beta, scale, initialState, outputFinalState, useQkL2NormInKernel, cuSeqlens).Chunk(chunkSize);
    }

    /// <summary>As <see cref="ChunkDeltaRule"/>, one token after another.</summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K]; of unit length, or the memory grows.</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="beta">Step sizes [B,T,H], or [B,T,H,V] for one a value channel, any float type; 1 when null.</param>
    /// <param name="scale">Factor of q, positive; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,H,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="useQkL2NormInKernel">Divides q and k by their length.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="finalState">Where the final state is written, if no gradients are recorded; may be <paramref name="initialState"/> itself.</param>
    /// <returns>o [B,T,H,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">q, k, v of different types, or not floats.</exception>
    /// <exception cref="ArgumentOutOfRangeException">scale is not positive.</exception>
    public static (Tensor O, Tensor? FinalState) FusedRecurrentDeltaRule(Tensor q, Tensor k, Tensor v, Tensor? beta = null, float? scale = null,
        Tensor? initialState = null, bool outputFinalState = false, bool useQkL2NormInKernel = false, CuSeqlens? cuSeqlens = null, Tensor? finalState = null)
    {
        CheckPositive(scale);
        return Delta(q, k, v, beta, scale, initialState, outputFinalState, useQkL2NormInKernel, cuSeqlens).Recurrent(finalState);
    }

    /// <summary>The delta rule with its attention matrix: o = A (β ⊙ v), A = scale · tril(q kᵀ) (1 + stril(β k kᵀ))⁻¹. Tensors are head-first here, as in fla.</summary>
    /// <param name="q">Queries [B,H,T,K].</param>
    /// <param name="k">Keys [B,H,T,K]; of unit length, or the memory grows.</param>
    /// <param name="v">Values [B,H,T,V].</param>
    /// <param name="beta">Step sizes [B,H,T], any float type.</param>
    /// <param name="scale">Factor of q.</param>
    /// <param name="outputAttentions">Whether to return A. It costs as much as T value channels, and has no gradient.</param>
    /// <returns>o [B,H,T,V], and A [B,H,T,T] if asked for, in q's type.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">q, k, v of different types, or not floats.</exception>
    /// <remarks>This is <see cref="ChunkDeltaRule"/>, in time that grows with T, and has its gradients and its 256 key channels; fla's has no gradient and 128.</remarks>
    public static (Tensor O, Tensor? Attentions) ParallelDeltaRule(Tensor q, Tensor k, Tensor v, Tensor beta, float scale, bool outputAttentions = false)
    {
        ArgumentNullException.ThrowIfNull(q);
        ArgumentNullException.ThrowIfNull(k);
        ArgumentNullException.ThrowIfNull(v);
        CheckHeadSteps(beta);
        Require.Rank(q, 4, "q");
        Require.Shape(k, "k", q.Shape);
        Require.Rank(v, 4, "v");
        int rows = q.Size(0) * q.Size(1), t = q.Size(2);
        Require.Shape(v, "v", q.Size(0), q.Size(1), t, v.Size(3));
        Require.Shape(beta, "beta", q.Shape[..3]);
        using var scope = new TensorScope();
        // A head is a batch row of one head, whose memory lies as it should.
        Tensor Row(Tensor x) => x.View(rows, t, 1, x.Size(3));
        (q, k, beta) = (Row(q), Row(k), beta.View(rows, t, 1));
        var (o, _) = ChunkDeltaRule(q, k, Row(v), beta, scale);
        var attentions = outputAttentions ? scope.Keep(Attentions(q, k, beta, scale).View([.. v.Shape[..3], t])) : null;
        return (scope.Keep(o.View(v.Shape)), attentions);
    }

    /// <summary>A column of A is what the memory answers when its token's correction writes a 1 and no other token's has a value.</summary>
    private static Tensor Attentions(Tensor q, Tensor k, Tensor beta, float scale)
    {
        using var noGrad = Autograd.NoGrad();
        int rows = q.Size(0), t = q.Size(1);
        var erase = Elementwise.Mul(k, beta.View(rows, t, 1, 1));
        var columns = new List<Tensor>();
        for (var first = 0; first < t; first += LinearShape.LargestResident)
        {
            var width = Math.Min(LinearShape.LargestResident, t - first);
            var ones = new float[t * width];
            for (var i = 0; i < width; i++) ones[(first + i) * width + i] = 1;
            var row = Tensor.From(q.Device, ones, [1, t, 1, width], q.DType);
            var v = rows == 1 ? row : Layouts.Concat(0, [.. Enumerable.Repeat(row, rows)]);
            columns.Add(new DeltaRule { Q = q, K = k, P = erase, V = v, Scale = scale }.Chunk(ChunkTiles.Size).O);
        }
        return columns.Count == 1 ? columns[0] : Layouts.Concat(3, [.. columns]);
    }

    private static DeltaRule Delta(Tensor q, Tensor k, Tensor v, Tensor? beta, float? scale, Tensor? initialState, bool outputFinalState, bool useQkL2NormInKernel,
        CuSeqlens? cuSeqlens)
    {
        RequireOwnHeads(q, v);
        return new()
        {
            Q = q, K = k, V = v, Beta = beta, Activations = new(useQkL2NormInKernel), Scale = scale, InitialState = initialState,
            OutputFinalState = outputFinalState, CuSeqlens = cuSeqlens,
        };
    }
}
