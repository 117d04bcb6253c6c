namespace Fla.Vulkan.Ops;

/// <summary>The additive memory with one decay a key channel and token, in chunks: CUM with AINTRA, STATE+ and OUT-A.</summary>
internal static class ChannelGated
{
    private sealed record Saved(LinearShape Shape, int Chunk, float Scale, bool VFirst);

    /// <summary>Runs it and records its gradients.</summary>
    public static (Tensor O, Tensor? FinalState) Run(LinearShape shape, int chunk, Tensor q, Tensor k, Tensor v, Tensor g, float scale,
        Tensor? initialState, bool outputFinalState, bool vFirst)
    {
        using var scope = new TensorScope();
        var scores = ChunkScores.Of(shape, chunk, q, null, false, k, null, g, scale, areUnit: false, keepsGate: false);
        var ht = outputFinalState ? Tensor.Empty(q.Device, DType.Float32, shape.State(vFirst)) : null;
        var states = ChunkState.Storage(shape, chunk, q.Device, q.DType);
        var walk = vFirst ? ChunkState.Walk.InitialVFirst | ChunkState.Walk.FinalVFirst : ChunkState.Walk.Forward;
        ChunkState.Run(shape, chunk, scores.Keys, v, new(scores.Gate, default, IsVector: true, IsInRows: true), states, walk, initialState, ht, 1);
        scores.Keys.Dispose();
        scores.Gate.Dispose();
        var o = ChunkOut.GatedRows(shape, chunk, scores.Queries, v, null, states, scores.QK, ChunkOut.Read.Forward, scale);
        if (Autograd.IsRecording(q, k, v, g, initialState))
        {
            Autograd.Record("chunk_gla", [q, k, v, g, initialState], ht is null ? [o] : [o, ht], [q, k, v, g, initialState, scores.QK], Backward,
                new Saved(shape, chunk, scale, vFirst));
        }
        return (scope.Keep(o), ht is null ? null : scope.Keep(ht));
    }

    private static Tensor?[] Backward(BackwardContext ctx, Tensor?[] dy)
    {
        Tensor q = ctx.Saved(0)!, k = ctx.Saved(1)!, v = ctx.Saved(2)!, g = ctx.Saved(3)!, scores = ctx.Saved(5)!;
        var h0 = ctx.Saved(4);
        var (shape, chunk, scale, vFirst) = ctx.State<Saved>();
        var device = q.Device;
        var dO = dy[0]?.To(q.DType) ?? Tensor.Zeros(device, q.DType, v.Shape);
        var dht = dy.Length > 1 ? dy[1]?.To(DType.Float32) : null;

        using var cumulative = Cumulative(shape, chunk, g);
        var gate = new ChunkGate(cumulative, default, IsVector: true);
        using var h = ChunkState.Storage(shape, chunk, device, q.DType);
        ChunkState.Run(shape, chunk, k, v, gate, h, vFirst ? ChunkState.Walk.InitialVFirst : 0, h0, null, 1);
        using var dh = ChunkState.Storage(shape, chunk, device, q.DType);
        var dh0 = ctx.Needs(4) ? Tensor.EmptyLike(h0!) : null;
        var back = ChunkState.Walk.Reverse | (vFirst ? ChunkState.Walk.InitialVFirst | ChunkState.Walk.FinalVFirst : 0);
        ChunkState.Run(shape, chunk, q, dO, gate, dh, back, dht, dh0, scale);

        var dv = ChunkOut.GatedRows(shape, chunk, k, dO, cumulative, dh, scores, ChunkOut.Read.Reverse, 1);
        var dScores = ChunkScoresBackward.Run(shape, chunk, dO, scale, v, null, null, null);
        var d = ChunkGradients.Run(shape, chunk, new(q, dO), null, false, new(k, v), null, cumulative, dScores, h, dh, scale, 1, ctx.Needs(3));
        return [d.DQ, d.DK, dv, d.DG, dh0];
    }

    private static Tensor Cumulative(LinearShape shape, int chunk, Tensor g)
    {
        var cumulative = Tensor.EmptyLike(g, DType.Float32);
        ChunkCumsum.Chunks(shape, chunk, new(g), shape.H * shape.K, cumulative);
        return cumulative;
    }
}
