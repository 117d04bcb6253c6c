namespace Fla.Vulkan.Ops;

/// <summary>The delta rule in chunks, with one decay a head, one a key channel, or none: CUM, KKT (AINTRA), TRI, WU, STATE-Δ and OUT.</summary>
internal static class DeltaChunk
{
    private sealed record Saved(LinearShape Shape, int Chunk, bool IsSame, bool ReadsUndecayed, float Scale, bool VFirst);

    /// <summary>
    /// S̄ = decay(S); ũ = β (v − S'ᵀ a); S ← S̄ + k ũᵀ; o = scale Sᵀ q, where S' is S̄, or with <paramref name="readsUndecayed"/> S. Records its gradients.
    /// </summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="chunk">Tokens of a chunk: 16, 32 or 64.</param>
    /// <param name="q">Queries [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="a">What is erased [B,T,H,K]; may be <paramref name="k"/> itself.</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="beta">[B,T,H], any float type, or null for 1.</param>
    /// <param name="g">Log decay [B,T,H] or [B,T,H,K], any float type, or null.</param>
    /// <param name="readsUndecayed">Whether the correction reads the state before this token's decay.</param>
    /// <param name="scale">Factor of q.</param>
    /// <param name="initialState">State before the first token, any float type, or null.</param>
    /// <param name="outputFinalState">Whether the state after the last token is wanted.</param>
    /// <param name="vFirst">States are [N,H,V,K].</param>
    /// <param name="areUnit">q and k, which is a, are divided by their lengths first; under a gate of channels only where no gradients are recorded.</param>
    /// <returns>o [B,T,H,V], the final state, fp32, and the state that enters each chunk [chunks,H,K,V], in the storage type.</returns>
    public static (Tensor O, Tensor? FinalState, Tensor States) Run(LinearShape shape, int chunk, Tensor q, Tensor k, Tensor a, Tensor v, Tensor? beta, Tensor? g,
        bool readsUndecayed, float scale, Tensor? initialState, bool outputFinalState, bool vFirst, bool areUnit = false)
    {
        using var scope = new TensorScope();
        initialState = initialState?.To(DType.Float32);
        beta = beta?.To(DType.Float32);
        var isRecording = Autograd.IsRecording(q, k, a, v, beta, g, initialState);
        var scores = g is { Rank: 4 } ? ChunkScores.Of(shape, chunk, q, a, readsUndecayed, k, null, g, scale, areUnit, isRecording) : null;
        var of = new DeltaOperands(a, k, v, beta, scores is null ? HeadGated.Cumulative(shape, chunk, g) : scores.Gate, readsUndecayed);
        var ht = outputFinalState ? Tensor.Empty(q.Device, DType.Float32, shape.State(vFirst)) : null;
        // The walk over many channels and the backward want rows of length 1, the other walk divides by lengths where it scales rows anyway.
        var isWide = scores is null && DeltaWideState.Serve(shape, chunk, of, q, initialState);
        DeltaChunkInverse.Norms? norms = areUnit && scores is null ? DeltaChunkInverse.Norms.Of(q, k, isRecording || isWide) : null;
        // A walk that holds more than two tiles of channels has not the registers for M too.
        var (m, w, u) = scores is not null && shape.K > 2 * ChunkTiles.Size ? DeltaChunkSolve.Products(shape, chunk, scores.Erasers!, v, scores.AK!, beta)
            : (scores is null ? DeltaChunkInverse.Run(shape, chunk, of, norms) : DeltaChunkSolve.Run(shape, chunk, k.DType, scores.AK!, beta), default(Tensor), default(Tensor));
        (Tensor Q, Tensor K)? lengths = null;
        if (norms is { UnitQ: null } found) lengths = (found.LengthsQ!, found.LengthsK!);
        else if (norms is { } made)
        {
            made.Record(k);
            (q, k, a) = (made.UnitQ!, made.UnitK!, made.UnitK!);
        }
        Tensor states, values;
        if (isWide)
        {
            (states, values) = DeltaWideState.Run(shape, of with { A = a, K = k }, m, vFirst, initialState, ht);
        }
        else
        {
            var walk = vFirst ? DeltaChunkState.Walk.InitialVFirst | DeltaChunkState.Walk.FinalVFirst : 0;
            if (readsUndecayed && scores is null) walk |= DeltaChunkState.Walk.ReadsUndecayed;
            DeltaChunkState.Operands operands = w is null ? new(scores?.Erasers ?? a, v, scores?.Keys ?? k, -1, Inverse: m, Beta: beta, Lengths: lengths?.K) : new(w, u!, scores!.Keys, -1);
            (states, values) = DeltaChunkState.Run(shape, chunk, operands, of.Gate, of.Cumulative, walk, initialState, ht);
        }
        var o = scores is null
            ? ChunkOut.HeadGated(shape, chunk, q, k, values, new(of.Cumulative, default), states, ChunkOut.Read.Forward, scale, scale, lengths: lengths)
            : ChunkOut.GatedRows(shape, chunk, scores.Queries, values, null, states, scores.QK, ChunkOut.Read.Forward, scale);
        if (isRecording)
        {
            Autograd.Record("chunk_delta_rule", [q, k, ReferenceEquals(a, k) ? null : a, v, beta, g, initialState], ht is null ? [o] : [o, ht],
                [q, k, a, v, beta, of.Cumulative, initialState, m, values, scores?.AK, scores?.QK, scores?.Queries, scores?.Erasers, scores?.Keys],
                scores is null ? HeadsBackward : ChannelsBackward, new Saved(shape, chunk, ReferenceEquals(a, k), readsUndecayed, scale, vFirst));
        }
        return (scope.Keep(o), ht is null ? null : scope.Keep(ht), scope.Keep(states));
    }

    private static Tensor?[] HeadsBackward(BackwardContext ctx, Tensor?[] dy)
    {
        Tensor q = ctx.Saved(0)!, k = ctx.Saved(1)!, m = ctx.Saved(7)!, values = ctx.Saved(8)!;
        var (shape, chunk, isSame, readsUndecayed, scale, vFirst) = ctx.State<Saved>();
        var of = new DeltaOperands(isSame ? k : ctx.Saved(2)!, k, ctx.Saved(3)!, ctx.Saved(4), ctx.Saved(5), readsUndecayed);
        var h0 = ctx.Saved(6);
        var device = q.Device;
        var dO = dy[0]?.To(q.DType) ?? Tensor.Zeros(device, q.DType, of.V.Shape);
        var dht = dy.Length > 1 ? dy[1]?.To(DType.Float32) : null;
        var gate = new ChunkGate(of.Cumulative, default);
        var needsG = ctx.Needs(5);

        // The state follows from the corrected values, which were kept.
        var ht = needsG && !DeltaChunkGradients.IsOne(q) ? Tensor.Empty(device, DType.Float32, shape.State(false)) : null;
        var h = ChunkState.Storage(shape, chunk, device, k.DType);
        ChunkState.Run(shape, chunk, k, values, gate, h, vFirst ? ChunkState.Walk.InitialVFirst : 0, h0, ht, 1);
        var local = ChunkOut.HeadGated(shape, chunk, k, q, dO, gate, null, ChunkOut.Read.Reverse, 1, scale);
        var dh0 = ctx.Needs(6) ? Tensor.EmptyLike(h0!) : null;
        var back = DeltaChunkState.Walk.Reverse | (vFirst ? DeltaChunkState.Walk.InitialVFirst | DeltaChunkState.Walk.FinalVFirst : 0);
        if (readsUndecayed) back |= DeltaChunkState.Walk.ReadsUndecayed;
        var (dh, x) = DeltaChunkState.Run(shape, chunk, new(k, local, of.A, -1, q, dO, scale, m, of.Beta), of.Gate, of.Cumulative, back, dht, dh0);
        local.Dispose();

        var d = DeltaChunkGradients.Run(shape, chunk, of, q, dO, values, x, h, dh, scale, needsG, ht);
        return [d.DQ, d.DK, d.DA, d.DV, d.DBeta, d.DG, dh0];
    }

    private static Tensor?[] ChannelsBackward(BackwardContext ctx, Tensor?[] dy)
    {
        Tensor q = ctx.Saved(0)!, k = ctx.Saved(1)!, cumulative = ctx.Saved(5)!, m = ctx.Saved(7)!, values = ctx.Saved(8)!;
        Tensor erased = ctx.Saved(9)!, read = ctx.Saved(10)!, queries = ctx.Saved(11)!, erasers = ctx.Saved(12)!, keys = ctx.Saved(13)!;
        var (shape, chunk, isSame, readsUndecayed, scale, vFirst) = ctx.State<Saved>();
        var of = new DeltaOperands(isSame ? k : ctx.Saved(2)!, k, ctx.Saved(3)!, ctx.Saved(4), cumulative, readsUndecayed);
        var h0 = ctx.Saved(6);
        var device = q.Device;
        var dO = dy[0]?.To(q.DType) ?? Tensor.Zeros(device, q.DType, of.V.Shape);
        var dht = dy.Length > 1 ? dy[1]?.To(DType.Float32) : null;

        // The state follows from the corrected values, which were kept, as were the rows with their decays.
        var h = ChunkState.Storage(shape, chunk, device, k.DType);
        ChunkState.Run(shape, chunk, keys, values, new(cumulative, default, IsVector: true, IsInRows: true), h, vFirst ? ChunkState.Walk.InitialVFirst : 0, h0, null, 1);
        var local = ChunkOut.GatedRows(shape, chunk, k, dO, cumulative, null, read, ChunkOut.Read.Reverse, 1);
        var dh0 = ctx.Needs(6) ? Tensor.EmptyLike(h0!) : null;
        var back = DeltaChunkState.Walk.Reverse | (vFirst ? DeltaChunkState.Walk.InitialVFirst | DeltaChunkState.Walk.FinalVFirst : 0);
        var (dh, x) = DeltaChunkState.Run(shape, chunk, new(keys, local, erasers, -1, queries, dO, scale, m, of.Beta), of.Gate, cumulative, back, dht, dh0);
        local.Dispose();

        // What M multiplies has the gradient X = Mᵀ dV~; that of v is βX, and what is read of the state is subtracted.
        ChunkScoresBackward.Steps? steps = of.Beta is { } beta ? new(beta, Tensor.EmptyLike(beta), Tensor.EmptyLike(of.V), of.V, of.A, cumulative, h, erased, readsUndecayed) : null;
        var dv = steps?.DV ?? x;
        var dScores = ChunkScoresBackward.Run(shape, chunk, dO, scale, values, null, new(x, -1), steps);
        var d = ChunkGradients.Run(shape, chunk, new(q, dO), new(of.A, dv), readsUndecayed, new(k, values), null, cumulative, dScores, h, dh, scale, -1, ctx.Needs(5));
        return [d.DQ, d.DK, d.DA, dv, steps?.DBeta, d.DG, dh0];
    }
}
