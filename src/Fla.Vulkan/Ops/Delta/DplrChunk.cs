namespace Fla.Vulkan.Ops;

/// <summary>The generalized delta rule, a decay plus a correction of rank one, in chunks: CUM, AINTRA, TRI, WU, STATE-Δ and OUT-A.</summary>
internal static class DplrChunk
{
    private sealed record Saved(LinearShape Shape, int Chunk, float Scale, bool VFirst);

    /// <summary>S ← diag(e^gk) S + b (Sᵀ a)ᵀ + k vᵀ, where a reads the undecayed S; o = scale Sᵀ q. Records its gradients.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="chunk">Tokens of a chunk: 16, 32 or 64.</param>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="a">What the correction reads [B,T,H,K].</param>
    /// <param name="b">Where it is written [B,T,H,K].</param>
    /// <param name="gk">Log decay [B,T,H,K], any float type, or null for none.</param>
    /// <param name="scale">Factor of q.</param>
    /// <param name="initialState">State before the first token, any float type, or null.</param>
    /// <param name="outputFinalState">Whether the state after the last token is wanted.</param>
    /// <param name="vFirst">States are [N,H,V,K].</param>
    /// <returns>o [B,T,H,V] and the final state, fp32.</returns>
    public static (Tensor O, Tensor? FinalState) Run(LinearShape shape, int chunk, Tensor q, Tensor k, Tensor v, Tensor a, Tensor b, Tensor? gk, float scale,
        Tensor? initialState, bool outputFinalState, bool vFirst)
    {
        using var scope = new TensorScope();
        initialState = initialState?.To(DType.Float32);
        var isRecording = Autograd.IsRecording(q, k, v, a, b, gk, initialState);
        var scores = ChunkScores.Of(shape, chunk, q, a, true, k, b, gk ?? Tensor.Zeros(q.Device, DType.Float32, q.Shape), scale, areUnit: false, keepsGate: isRecording);
        var cumulative = scores.Gate;
        Tensor ak = scores.AK!, qk = scores.QK, qb = scores.QB!, erasers = scores.Erasers!, keys = scores.Keys, secondKeys = scores.SecondKeys!;
        var (m, u) = DeltaChunkSolve.Generalized(shape, chunk, v, scores.AB!, ak);
        scores.AB!.Dispose();
        var ht = outputFinalState ? Tensor.Empty(q.Device, DType.Float32, shape.State(vFirst)) : null;
        var walk = vFirst ? DeltaChunkState.Walk.InitialVFirst | DeltaChunkState.Walk.FinalVFirst : 0;
        var (states, values) = DeltaChunkState.Run(shape, chunk, new(erasers, u, secondKeys, 1, keys, v, Inverse: m), DeltaGate.Channels, cumulative, walk, initialState, ht);
        var o = ChunkOut.GatedRows(shape, chunk, scores.Queries, v, null, states, qk, ChunkOut.Read.Forward, scale, values, qb);
        if (isRecording)
        {
            Autograd.Record("chunk_dplr_delta_rule", [q, k, v, a, b, gk, initialState], ht is null ? [o] : [o, ht],
                [q, k, v, a, b, cumulative, initialState, m, values, ak, qk, qb, scores.Queries, erasers, keys, secondKeys], Backward, new Saved(shape, chunk, scale, vFirst));
        }
        return (scope.Keep(o), ht is null ? null : scope.Keep(ht));
    }

    private static Tensor?[] Backward(BackwardContext ctx, Tensor?[] dy)
    {
        Tensor q = ctx.Saved(0)!, k = ctx.Saved(1)!, v = ctx.Saved(2)!, a = ctx.Saved(3)!, b = ctx.Saved(4)!, cumulative = ctx.Saved(5)!;
        Tensor m = ctx.Saved(7)!, values = ctx.Saved(8)!, ak = ctx.Saved(9)!, qk = ctx.Saved(10)!, qb = ctx.Saved(11)!;
        Tensor queries = ctx.Saved(12)!, erasers = ctx.Saved(13)!, keys = ctx.Saved(14)!, secondKeys = ctx.Saved(15)!;
        var h0 = ctx.Saved(6);
        var (shape, chunk, scale, vFirst) = ctx.State<Saved>();
        var device = q.Device;
        var dO = dy[0]?.To(q.DType) ?? Tensor.Zeros(device, q.DType, v.Shape);
        var dht = dy.Length > 1 ? dy[1]?.To(DType.Float32) : null;

        // The state follows from the corrections, which were kept, as were the rows with their decays.
        var h = ChunkState.Storage(shape, chunk, device, k.DType);
        ChunkState.Run(shape, chunk, keys, v, new(cumulative, default, IsVector: true, IsInRows: true), h, vFirst ? ChunkState.Walk.InitialVFirst : 0, h0, null, 1, secondKeys, values);
        var local = ChunkOut.GatedRows(shape, chunk, k, dO, cumulative, null, qb, ChunkOut.Read.Reverse, 1);
        var dh0 = ctx.Needs(6) ? Tensor.EmptyLike(h0!) : null;
        var back = DeltaChunkState.Walk.Reverse | (vFirst ? DeltaChunkState.Walk.InitialVFirst | DeltaChunkState.Walk.FinalVFirst : 0);
        var (dh, x) = DeltaChunkState.Run(shape, chunk, new(secondKeys, local, erasers, 1, queries, dO, scale, Inverse: m), DeltaGate.Channels, cumulative, back, dht, dh0);
        local.Dispose();
        var dv = ChunkOut.GatedRows(shape, chunk, keys, dO, null, dh, qk, ChunkOut.Read.Reverse, 1, x, ak);

        var dScores = ChunkScoresBackward.Run(shape, chunk, dO, scale, v, values, new(x, 1), null);
        var d = ChunkGradients.Run(shape, chunk, new(q, dO), new(a, x), true, new(k, v), new(b, values), cumulative, dScores, h, dh, scale, 1, ctx.Needs(5));
        return [d.DQ, d.DK, dv, d.DA, d.DB, d.DG, dh0];
    }
}
