namespace Fla.Vulkan.Ops;

public static partial class DeltaOps
{
    /// <summary>
    /// Several corrections a token (Siems et al. 2025), in chunks: S ← e^g S, then for each of the token's n keys S ← S + k β(v − Sᵀk)ᵀ, then o = scale · Sᵀ q.
    /// Token t has the rows t·n … t·n + n − 1 of k, v and β.
    /// </summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T·n,H,K].</param>
    /// <param name="v">Values [B,T·n,H,V].</param>
    /// <param name="g">Log decay [B,T,H], any float type; none when null.</param>
    /// <param name="beta">Step sizes [B,T·n,H], any float type.</param>
    /// <param name="numHouseholder">n.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,H,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="useQkL2NormInKernel">Divides q and k by their length.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences, in tokens; B must then be 1.</param>
    /// <returns>o [B,T,H,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">q, k, v of different types, or not floats.</exception>
    public static (Tensor O, Tensor? FinalState) ChunkGatedDeltaProduct(Tensor q, Tensor k, Tensor v, Tensor? g, Tensor beta, int numHouseholder,
        float? scale = null, Tensor? initialState = null, bool outputFinalState = false, bool useQkL2NormInKernel = false, CuSeqlens? cuSeqlens = null) =>
        GatedDeltaProduct(q, k, v, g, beta, numHouseholder, scale, initialState, outputFinalState, useQkL2NormInKernel, cuSeqlens, rule => rule.Chunk(ChunkTiles.Size));

    /// <summary>As <see cref="ChunkGatedDeltaProduct"/>, one row after another.</summary>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T·n,H,K].</param>
    /// <param name="v">Values [B,T·n,H,V].</param>
    /// <param name="g">Log decay [B,T,H], any float type; none when null.</param>
    /// <param name="beta">Step sizes [B,T·n,H], any float type.</param>
    /// <param name="numHouseholder">n.</param>
    /// <param name="scale">Factor of q; K^(-1/2) when null.</param>
    /// <param name="initialState">State before the first token [N,H,K,V]; zero when null.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="useQkL2NormInKernel">Divides q and k by their length.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences, in tokens; B must then be 1.</param>
    /// <param name="finalState">Where the final state is written, if no gradients are recorded; may be <paramref name="initialState"/> itself.</param>
    /// <returns>o [B,T,H,V] in q's type, and the final state (fp32) if asked for.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">q, k, v of different types, or not floats.</exception>
    public static (Tensor O, Tensor? FinalState) FusedRecurrentGatedDeltaProduct(Tensor q, Tensor k, Tensor v, Tensor? g, Tensor beta, int numHouseholder,
        float? scale = null, Tensor? initialState = null, bool outputFinalState = false, bool useQkL2NormInKernel = false, CuSeqlens? cuSeqlens = null,
        Tensor? finalState = null) =>
        GatedDeltaProduct(q, k, v, g, beta, numHouseholder, scale, initialState, outputFinalState, useQkL2NormInKernel, cuSeqlens, rule => rule.Recurrent(finalState));

    private static (Tensor O, Tensor? FinalState) GatedDeltaProduct(Tensor q, Tensor k, Tensor v, Tensor? g, Tensor beta, int numHouseholder, float? scale,
        Tensor? initialState, bool outputFinalState, bool useQkL2NormInKernel, CuSeqlens? cuSeqlens, Func<DeltaRule, (Tensor O, Tensor? FinalState)> run)
    {
        ArgumentNullException.ThrowIfNull(q);
        ArgumentNullException.ThrowIfNull(k);
        ArgumentNullException.ThrowIfNull(v);
        CheckHeadSteps(beta);
        Require.That(numHouseholder > 0, $"numHouseholder is positive, not {numHouseholder}");
        Require.Rank(q, 4, nameof(q));
        Require.Rank(v, 4, nameof(v));
        Require.Type(k, q.DType, nameof(k));
        int b = q.Size(0), t = q.Size(1), h = q.Size(2), n = numHouseholder;
        Require.Shape(k, nameof(k), b, t * n, h, q.Size(3));
        Require.Shape(v, nameof(v), b, t * n, h, v.Size(3));
        Require.Float(g, nameof(g));
        Require.Shape(g, nameof(g), b, t, h);
        if (cuSeqlens is not null) Require.That(b == 1 && cuSeqlens.Length == t, $"cuSeqlens packs {cuSeqlens.Length} tokens into one batch row, q is {q.Describe()}");

        // The gated delta rule on a sequence of T·n rows: the decay comes with a token's first row, the query with its last.
        using var scope = new TensorScope();
        var (o, ht) = run(new()
        {
            Q = Stretched(q, n, n - 1), K = k, V = v, G = g is null ? null : Stretched(g, n, 0), Beta = beta, Activations = new(useQkL2NormInKernel), Scale = scale,
            InitialState = initialState, OutputFinalState = outputFinalState, CuSeqlens = cuSeqlens?.Stretched(n),
        });
        o = Layouts.Slice(o.View(b * t, n, h, v.Size(3)), 1, n - 1, 1).View(b, t, h, v.Size(3));
        return (scope.Keep(o), ht is null ? null : scope.Keep(ht));
    }

    /// <summary>[B,T,...] to [B,T·n,...] with the tokens at row <paramref name="place"/> of their n, and zeros.</summary>
    private static Tensor Stretched(Tensor x, int n, int place)
    {
        int tokens = x.Size(0) * x.Size(1);
        int[] rest = [.. x.Shape[2..]];
        Tensor Zeros(int rows) => Tensor.Zeros(x.Device, x.DType, [tokens, rows, .. rest]);
        return Layouts.Concat(1, Zeros(place), x.View([tokens, 1, .. rest]), Zeros(n - 1 - place)).View([x.Size(0), x.Size(1) * n, .. rest]);
    }
}
