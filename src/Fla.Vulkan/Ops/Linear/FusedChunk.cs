namespace Fla.Vulkan.Ops;

/// <summary>
/// FCHUNK: the additive memory with a scalar decay or none; one workgroup walks the chunks of a sequence with the state on chip
/// (shaders/linear/fused_chunk.comp). The gradients are the same walk with the arguments in other places.
/// </summary>
internal static class FusedChunk
{
    private static readonly Kernel<Args> Kernel = new("linear/fused_chunk");

    private readonly record struct Args(In A, In B, In C, In Gate, In Gamma, In Initial, Out Final, In E, Out Dots, Out O, In Packed,
        uint T, uint Chunk, uint H, uint P, uint Q, uint Tokens, uint Flags, float Scale, float DecayKind);

    [Flags]
    private enum Walk : uint
    {
        Forward = 0,
        Reverse = 1,
        StateTransposed = 2,
    }

    private sealed record Saved(LinearShape Shape, int Chunk, float DecayKind, float Scale);

    /// <summary>Runs it and records its gradients.</summary>
    public static (Tensor O, Tensor? FinalState) Run(LinearShape shape, int chunk, Tensor q, Tensor k, Tensor v, Tensor? g, HeadDecay decay, float scale,
        Tensor? initialState, bool outputFinalState)
    {
        using var scope = new TensorScope();
        if (initialState is { } given && given.DType != DType.Float32) initialState = given.To(DType.Float32);
        var cumulative = HeadGated.Cumulative(shape, chunk, g);
        var gate = new ChunkGate(cumulative, decay);
        var ht = outputFinalState ? Tensor.Empty(q.Device, DType.Float32, shape.State(false)) : null;
        var o = Chunks(shape, chunk, q, k, v, gate, Walk.Forward, scale, initialState, ht);
        if (Autograd.IsRecording(q, k, v, g, initialState))
        {
            Autograd.Record("fused_chunk", [q, k, v, g, initialState], ht is null ? [o] : [o, ht],
                [q, k, v, cumulative, initialState, decay.Gamma, ht], Backward, new Saved(shape, chunk, decay.Kind, scale));
        }
        return (scope.Keep(o), ht is null ? null : scope.Keep(ht));
    }

    private static Tensor?[] Backward(BackwardContext ctx, Tensor?[] dy)
    {
        Tensor q = ctx.Saved(0)!, k = ctx.Saved(1)!, v = ctx.Saved(2)!;
        Tensor? cumulative = ctx.Saved(3), h0 = ctx.Saved(4), ht = ctx.Saved(6);
        var (shape, chunk, kind, scale) = ctx.State<Saved>();
        var gate = new ChunkGate(cumulative, new(ctx.Saved(5), kind));
        var device = q.Device;
        var dO = dy[0]?.To(q.DType) ?? Tensor.Zeros(device, q.DType, v.Shape);
        var dht = ht is null ? null : dy[1]?.To(DType.Float32);
        var needsG = ctx.Needs(3);

        var tiles = (int)ChunkTiles.Count(shape.K);
        using var dotsQ = needsG ? Tensor.Empty(device, DType.Float32, tiles, shape.Tokens, shape.H) : null;
        using var dotsK = needsG ? Tensor.Empty(device, DType.Float32, tiles, shape.Tokens, shape.H) : null;
        var dh0 = ctx.Needs(4) ? Tensor.EmptyLike(h0!) : null;
        var turned = shape.Transposed;
        var dq = Chunks(turned, chunk, dO, v, k, gate, Walk.StateTransposed, scale, h0, null, q, dotsQ);
        var dk = Chunks(turned, chunk, v, dO, q, gate, Walk.StateTransposed | Walk.Reverse, scale, dht, null, k, dotsK);
        var dv = Chunks(shape, chunk, k, q, dO, gate, Walk.Reverse, scale, dht, dh0);

        Tensor? dg = null;
        if (needsG)
        {
            using var start = dht is null ? null : RowDot.Of(ht!, dht, shape.N * shape.H, shape.K * shape.V);
            using var total = Tensor.Empty(device, DType.Float32, shape.N, shape.H);
            dg = Tensor.EmptyLike(cumulative!);
            ChunkCumsum.Parallel(shape, new(dotsQ!, null, dotsK, null, tiles), shape.H, dg, ChunkCumsum.Order.Reverse, start, total);
        }
        return [dq, dk, dv, dg, dh0];
    }

    private static Tensor Chunks(LinearShape shape, int chunk, Tensor a, Tensor b, Tensor c, in ChunkGate gate, Walk walk, float scale,
        Tensor? initial, Tensor? final, Tensor? e = null, Tensor? dots = null)
    {
        var device = a.Device;
        var o = Tensor.EmptyLike(c);
        Kernel.Launch(device,
            new(a, b, c, gate.Cumulative, gate.Decay.Gamma, initial, final, dots is null ? null : e, dots, o, shape.Packed?.Starts,
                (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)shape.K, (uint)shape.V, (uint)shape.Tokens, (uint)walk, scale, gate.Decay.Kind),
            new(ChunkTiles.Count(shape.V), (uint)shape.H, (uint)shape.N), ChunkTiles.Variant(device, a.DType),
            ChunkTiles.Spec(device, Kernel.Shader, a.DType, ChunkTiles.AreWhole(shape.K, shape.V, a, b, c, initial, final, e), ChunkTiles.Count(shape.K)));
        return o;
    }
}
