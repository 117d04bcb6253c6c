namespace Fla.Vulkan.Ops;

/// <summary>The additive memory with one decay a head and token (or a constant one, or none), in chunks: CUM, STATE+ and OUT.</summary>
internal static class HeadGated
{
    private sealed record Saved(LinearShape Shape, int Chunk, float DecayKind, float Scale, bool VFirst);

    /// <summary>Runs it and records its gradients.</summary>
    public static (Tensor O, Tensor? FinalState) Run(LinearShape shape, int chunk, Tensor q, Tensor k, Tensor v, Tensor? g, HeadDecay decay, float scale,
        Tensor? initialState, bool outputFinalState, bool vFirst)
    {
        using var scope = new TensorScope();
        if (initialState is { } given && given.DType != DType.Float32) initialState = given.To(DType.Float32);
        var cumulative = Cumulative(shape, chunk, g);
        var gate = new ChunkGate(cumulative, decay);
        var ht = outputFinalState ? Tensor.Empty(q.Device, DType.Float32, shape.State(vFirst)) : null;
        var walk = vFirst ? ChunkState.Walk.InitialVFirst | ChunkState.Walk.FinalVFirst : ChunkState.Walk.Forward;
        Tensor o;
        if (ChunkFragments.Serve(shape, chunk, q, k, v, cumulative, initialState)) o = ChunkFragments.Run(shape, q, k, v, gate, walk, initialState, ht, scale);
        else
        {
            var states = ChunkState.Storage(shape, chunk, q.Device, q.DType);
            ChunkState.Run(shape, chunk, k, v, gate, states, walk, initialState, ht, 1);
            o = ChunkOut.HeadGated(shape, chunk, q, k, v, gate, states, ChunkOut.Read.Forward, scale, scale);
        }
        if (Autograd.IsRecording(q, k, v, g, initialState))
        {
            Autograd.Record("chunk_simple_gla", [q, k, v, g, initialState], ht is null ? [o] : [o, ht],
                [q, k, v, cumulative, initialState, decay.Gamma], Backward, new Saved(shape, chunk, decay.Kind, scale, vFirst));
        }
        return (scope.Keep(o), ht is null ? null : scope.Keep(ht));
    }

    /// <summary>The log decay summed inside each chunk, fp32 [B,T,H].</summary>
    public static Tensor? Cumulative(LinearShape shape, int chunk, Tensor? g)
    {
        if (g is null) return null;
        var cumulative = Tensor.EmptyLike(g, DType.Float32);
        ChunkCumsum.Chunks(shape, chunk, new(g), shape.H, cumulative);
        return cumulative;
    }

    private static Tensor?[] Backward(BackwardContext ctx, Tensor?[] dy)
    {
        Tensor q = ctx.Saved(0)!, k = ctx.Saved(1)!, v = ctx.Saved(2)!;
        Tensor? cumulative = ctx.Saved(3), h0 = ctx.Saved(4);
        var (shape, chunk, kind, scale, vFirst) = ctx.State<Saved>();
        var gate = new ChunkGate(cumulative, new(ctx.Saved(5), kind));
        var device = q.Device;
        var dO = dy[0]?.To(q.DType) ?? Tensor.Zeros(device, q.DType, v.Shape);
        var dht = dy.Length > 1 ? dy[1]?.To(DType.Float32) : null;
        var needsG = ctx.Needs(3);

        using var h = ChunkState.Storage(shape, chunk, device, q.DType);
        using var ht = needsG ? Tensor.Empty(device, DType.Float32, shape.State(false)) : null;
        ChunkState.Run(shape, chunk, k, v, gate, h, vFirst ? ChunkState.Walk.InitialVFirst : 0, h0, ht, 1);
        using var dh = ChunkState.Storage(shape, chunk, device, q.DType);
        var dh0 = ctx.Needs(4) ? Tensor.EmptyLike(h0!) : null;
        var back = ChunkState.Walk.Reverse | (vFirst ? ChunkState.Walk.InitialVFirst | ChunkState.Walk.FinalVFirst : 0);
        ChunkState.Run(shape, chunk, q, dO, gate, dh, back, dht, dh0, scale);

        var parts = ChunkOut.Groups(device, q.DType, shape.K);
        using var dotsQ = needsG ? Tensor.Empty(device, DType.Float32, parts, shape.Tokens, shape.H) : null;
        using var dotsK = needsG ? Tensor.Empty(device, DType.Float32, parts, shape.Tokens, shape.H) : null;
        var turned = shape.Transposed;
        var dq = ChunkOut.HeadGated(turned, chunk, dO, v, k, gate, h, ChunkOut.Read.StateTransposed, scale, scale, dotsQ is null ? null : q, dotsQ);
        var dk = ChunkOut.HeadGated(turned, chunk, v, dO, q, gate, dh, ChunkOut.Read.StateTransposed | ChunkOut.Read.Reverse, 1, scale, dotsK is null ? null : k, dotsK);
        var dv = ChunkOut.HeadGated(shape, chunk, k, q, dO, gate, dh, ChunkOut.Read.Reverse, 1, scale);

        Tensor? dg = null;
        if (needsG)
        {
            using var rows = ChunkState.Dot(shape, chunk, h, dh, ht!, shape.K, shape.V);
            using var last = RowDot.Of(rows, null, shape.Chunks(chunk) * shape.H, shape.K);
            dg = Tensor.EmptyLike(cumulative!);
            ChunkCumsum.Chunks(shape, chunk, new(dotsQ!, null, dotsK, null, parts), shape.H, dg, ChunkCumsum.Order.Reverse, last);
        }
        return [dq, dk, dv, dg, dh0];
    }
}
