namespace Fla.Vulkan.Ops;

/// <summary>Gradients through the WY form of a chunk's corrections (shaders/delta/wy_backward.comp).</summary>
internal static class DeltaChunkWyBackward
{
    private static readonly Kernel<Args> Kernel = new("delta/wy_backward");

    private readonly record struct Args(In M, In DU, In Values, In States, In A, In K, In V, In Beta, In Gate, In Scores,
        Out DV, Out DA, InOut DK, Out DBeta, InOut DRows, InOut DColumns, Out DScores, Out DSecond, In Packed,
        uint N, uint T, uint C, uint H, uint KeyWidth, uint ValueWidth, float Sign);

    /// <summary>A decay of heads or none.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="chunk">Tokens of a chunk.</param>
    /// <param name="of">Operands of the forward.</param>
    /// <param name="m">(I + A)⁻¹.</param>
    /// <param name="values">Corrected values [B,T,H,V].</param>
    /// <param name="states">State entering each chunk.</param>
    /// <param name="dU">Gradient of the corrected values.</param>
    /// <param name="dv">Where that of v goes.</param>
    /// <param name="da">Where that of a goes; null when a is k.</param>
    /// <param name="dk">Added to: that of k, and of a when it is k.</param>
    /// <param name="dBeta">Where that of beta goes, fp32, or null.</param>
    /// <param name="dRows">With a decay, added to: a·da, of the row that reads G of a token, fp32 [B,T,H].</param>
    /// <param name="dColumns">With a decay, added to: k·dk.</param>
    public static void Heads(LinearShape shape, int chunk, DeltaOperands of, Tensor m, Tensor values, Tensor states, Tensor dU,
        Tensor dv, Tensor? da, Tensor dk, Tensor? dBeta, Tensor? dRows, Tensor? dColumns) =>
        Launch(shape, chunk, of, new(m, dU, values, states, of.A, of.K, of.V, of.Beta, of.Cumulative, null, dv, da, dk, dBeta, dRows, dColumns, null, null, shape.Table(chunk),
            (uint)shape.N, (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)shape.K, (uint)shape.V, -1), da is null, false, dU, values, states, m, dv, da, dk);

    /// <summary>A decay of channels.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="chunk">Tokens of a chunk.</param>
    /// <param name="of">Operands of the forward.</param>
    /// <param name="m">(I + A)⁻¹.</param>
    /// <param name="values">Corrected values [B,T,H,V].</param>
    /// <param name="states">State entering each chunk.</param>
    /// <param name="dU">Gradient of the corrected values.</param>
    /// <param name="scores">⟨a_r, k_s⟩, fp32 [B,T,H,C].</param>
    /// <param name="dv">Where that of v goes.</param>
    /// <param name="da">Where that of a goes, fp32, without the part of the scores.</param>
    /// <param name="dBeta">Where that of beta goes, fp32, or null.</param>
    /// <returns>That of the scores, fp32, zero from the diagonal on.</returns>
    public static Tensor Channels(LinearShape shape, int chunk, DeltaOperands of, Tensor m, Tensor values, Tensor states, Tensor dU, Tensor scores, Tensor dv, Tensor da, Tensor? dBeta)
    {
        var dScores = Tensor.EmptyLike(scores);
        Launch(shape, chunk, of, new(m, dU, values, states, of.A, of.K, of.V, of.Beta, of.Cumulative, scores, dv, da, null, dBeta, null, null, dScores, null, shape.Table(chunk),
            (uint)shape.N, (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)shape.K, (uint)shape.V, -1), false, false, dU, values, states, m, dv, da);
        return dScores;
    }

    /// <summary>The generalized rule: a decay of channels, and values that come through M A_ak.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="chunk">Tokens of a chunk.</param>
    /// <param name="of">Operands of the forward.</param>
    /// <param name="m">(I − A_ab)⁻¹.</param>
    /// <param name="values">Corrected values [B,T,H,V].</param>
    /// <param name="states">State entering each chunk.</param>
    /// <param name="dU">Gradient of the corrected values.</param>
    /// <param name="da">Where that of a goes, fp32, without the part of the scores.</param>
    /// <returns>Those of ⟨a_r, b_s⟩ and ⟨a_r, k_s⟩, fp32, zero from the diagonal on.</returns>
    public static (Tensor AB, Tensor AK) Generalized(LinearShape shape, int chunk, DeltaOperands of, Tensor m, Tensor values, Tensor states, Tensor dU, Tensor da)
    {
        Tensor dAB = Tensor.Empty(m.Device, DType.Float32, m.Shape), dAK = Tensor.EmptyLike(dAB);
        Launch(shape, chunk, of, new(m, dU, values, states, of.A, of.K, of.V, null, of.Cumulative, null, null, da, null, null, null, null, dAB, dAK, shape.Table(chunk),
            (uint)shape.N, (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)shape.K, (uint)shape.V, 1), false, true, dU, values, states, m, da);
        return (dAB, dAK);
    }

    private static void Launch(LinearShape shape, int chunk, DeltaOperands of, in Args args, bool isSame, bool hasSecond, params ReadOnlySpan<Tensor?> tensors)
    {
        var device = of.A.Device;
        var isWhole = ChunkTiles.AreWhole(shape.K, shape.V, of.A, of.K, of.V, of.Gate == DeltaGate.Channels ? of.Cumulative : null) && ChunkTiles.AreWhole(shape.K, shape.V, tensors);
        Kernel.Launch(device, args, new((uint)shape.Chunks(chunk), (uint)shape.H), ChunkTiles.Variant(device, of.A.DType),
            ChunkTiles.Spec(device, Kernel.Shader, of.A.DType, isWhole, (uint)of.Gate, of.ReadsUndecayed ? 1u : 0, isSame ? 1u : 0, hasSecond ? 1u : 0, ChunkTiles.Count(shape.K),
                ChunkTiles.AreFull(isWhole, shape.K, shape.V), ChunkTiles.AreDense(shape, chunk)));
    }
}
