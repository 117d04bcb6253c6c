namespace Fla.Vulkan.Ops;

/// <summary>
/// Causal softmax attention (Vaswani et al. 2017), by tiles and with a running maximum (Dao et al. 2022): o_i = Σ_j softmax_j(scale · q_i·k_j) v_j over the keys j
/// up to i. Tensors are sequence-first: q [B,T,HQ,K], k [B,T,H,K], v [B,T,H,V], HQ a multiple of H: query head h reads key head ⌊h / (HQ/H)⌋.
/// </summary>
public static class AttnOps
{
    private const int LargestHead = 256;

    /// <summary>Attention within a call. Gradients of q, k and v.</summary>
    /// <param name="q">Queries [B,T,HQ,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="scale">Factor of the logits; K^(-1/2) when null.</param>
    /// <param name="windowSize">Keys that a query sees, its own included; all before it when null.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <returns>o [B,T,HQ,V] in q's type.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together, or heads of more than 256 channels.</exception>
    /// <exception cref="DTypeException">q, k, v of different types, or not floats.</exception>
    /// <exception cref="ArgumentOutOfRangeException">windowSize is not positive.</exception>
    public static Tensor ParallelAttn(Tensor q, Tensor k, Tensor v, float? scale = null, int? windowSize = null, CuSeqlens? cuSeqlens = null)
    {
        var shape = Check(q, k, v, windowSize, cuSeqlens);
        return SoftmaxAttention.Run(shape, q, k, v, scale ?? 1 / MathF.Sqrt(shape.K));
    }

    /// <summary>
    /// Attention over earlier tokens too, whose keys and values rings hold: position j of a sequence at j modulo the capacity. The call's own are put into them.
    /// The lengths are read by the device at each run, so that a captured graph goes on when they change. Gradients of q, k and v, as long as the rings stay as they are.
    /// </summary>
    /// <param name="q">Queries [B,T,HQ,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="keys">Keys of each sequence [N,capacity,H,K], of q's type. The capacity has to have room for all tokens, or with a window for windowSize + T − 1: new ones take the
    /// place of the oldest.</param>
    /// <param name="values">Values of each sequence [N,capacity,H,V], of q's type.</param>
    /// <param name="lengths">Tokens of each sequence before this call, i32 [N]; not changed.</param>
    /// <param name="scale">Factor of the logits; K^(-1/2) when null.</param>
    /// <param name="windowSize">Keys that a query sees, its own included; all before it when null.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <returns>o [B,T,HQ,V] in q's type.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together, heads of more than 256 channels, or a capacity that has no room for the call's tokens.</exception>
    /// <exception cref="DTypeException">Tensors of different types, or lengths that are not i32.</exception>
    /// <exception cref="ArgumentOutOfRangeException">windowSize is not positive.</exception>
    public static Tensor AttnDecodingStep(Tensor q, Tensor k, Tensor v, Tensor keys, Tensor values, Tensor lengths, float? scale = null, int? windowSize = null,
        CuSeqlens? cuSeqlens = null)
    {
        var shape = Check(q, k, v, windowSize, cuSeqlens);
        ArgumentNullException.ThrowIfNull(keys);
        ArgumentNullException.ThrowIfNull(values);
        ArgumentNullException.ThrowIfNull(lengths);
        Require.SameDevice(q, keys, values, lengths);
        Require.Rank(keys, 4, "keys");
        Require.Type(keys, q.DType, "keys");
        Require.Type(values, q.DType, "values");
        Require.Type(lengths, DType.Int32, "lengths");
        var capacity = keys.Size(1);
        Require.Shape(keys, "keys", shape.N, capacity, shape.H, shape.K);
        Require.Shape(values, "values", shape.N, capacity, shape.H, shape.V);
        Require.Shape(lengths, "lengths", shape.N);
        Require.That(capacity >= (cuSeqlens?.Longest ?? shape.T), $"keys of a capacity of {capacity} have no room for {cuSeqlens?.Longest ?? shape.T} new tokens");
        return SoftmaxAttention.Run(shape, q, k, v, scale ?? 1 / MathF.Sqrt(shape.K), new(keys, values, lengths));
    }

    /// <summary>Puts keys or values of new tokens into the rings of their sequences: the last ones, as many as there is room for.</summary>
    /// <param name="x">[B,T,H,W].</param>
    /// <param name="ring">[N,capacity,H,W], of x's type.</param>
    /// <param name="lengths">Tokens of each sequence before these, i32 [N]; not changed.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">A ring of another type than x, or lengths that are not i32.</exception>
    public static void RingAppendStep(Tensor x, Tensor ring, Tensor lengths, CuSeqlens? cuSeqlens = null)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(ring);
        ArgumentNullException.ThrowIfNull(lengths);
        Require.SameDevice(x, ring, lengths);
        Require.Rank(x, 4, "x");
        Require.Float(x, "x");
        Require.Rank(ring, 4, "ring");
        Require.Type(ring, x.DType, "ring");
        Require.Type(lengths, DType.Int32, "lengths");
        var sequences = cuSeqlens.SequencesOf(x);
        Require.That(ring.Size(1) > 0, $"a ring has room for at least one token, it is {ring.Describe()}");
        Require.Shape(ring, "ring", sequences, ring.Size(1), x.Size(2), x.Size(3));
        Require.Shape(lengths, "lengths", sequences);
        SoftmaxAttention.Append(x, ring, lengths, cuSeqlens);
    }

    /// <summary>Adds the tokens of a call to the lengths of its sequences, on the device.</summary>
    /// <param name="lengths">i32 [N].</param>
    /// <param name="tokens">T, tokens of each sequence.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences, which have tokens of their own.</param>
    /// <exception cref="ShapeException">Not as many lengths as sequences.</exception>
    /// <exception cref="DTypeException">lengths are not i32.</exception>
    public static void LengthsStep(Tensor lengths, int tokens, CuSeqlens? cuSeqlens = null)
    {
        ArgumentNullException.ThrowIfNull(lengths);
        Require.Type(lengths, DType.Int32, "lengths");
        Require.Rank(lengths, 1, "lengths");
        Require.That(cuSeqlens is null || cuSeqlens.Count == lengths.Count, $"lengths needs {cuSeqlens?.Count} elements, it is {lengths.Describe()}");
        SoftmaxAttention.Advance(lengths, tokens, cuSeqlens);
    }

    private static SoftmaxAttention.Shape Check(Tensor q, Tensor k, Tensor v, int? windowSize, CuSeqlens? cuSeqlens)
    {
        ArgumentNullException.ThrowIfNull(q);
        ArgumentNullException.ThrowIfNull(k);
        ArgumentNullException.ThrowIfNull(v);
        if (windowSize is <= 0) throw new ArgumentOutOfRangeException(nameof(windowSize), windowSize, "windowSize must be positive");
        Require.SameDevice(q, k, v);
        Require.Rank(q, 4, "q");
        Require.Rank(k, 4, "k");
        Require.Rank(v, 4, "v");
        Require.Float(q, "q");
        Require.Type(k, q.DType, "k");
        Require.Type(v, q.DType, "v");
        int b = q.Size(0), t = q.Size(1), heads = k.Size(2);
        Require.Shape(k, "k", b, t, heads, q.Size(3));
        Require.Shape(v, "v", b, t, heads, v.Size(3));
        Require.That(heads > 0 && q.Size(2) > 0 && q.Size(2) % heads == 0, $"{q.Size(2)} query heads are no multiple of {heads} key heads");
        Require.That(q.Size(3) is > 0 and <= LargestHead && v.Size(3) is > 0 and <= LargestHead,
            $"q, k and v need 1 to {LargestHead} channels a head, not {q.Size(3)} and {v.Size(3)}");
        cuSeqlens.SequencesOf(q);
        if (cuSeqlens is not null && cuSeqlens.Device != q.Device) throw new DeviceException($"cuSeqlens lives on {cuSeqlens.Device.Name}, q on {q.Device.Name}");
        return new(b, t, q.Size(2), heads, q.Size(3), v.Size(3), windowSize ?? 0, cuSeqlens);
    }
}
