namespace Fla.Vulkan.Ops;

/// <summary>
/// Linear attention and its gated relatives: a matrix-valued memory S ← decay(S) + k vᵀ, read by o = scale · Sᵀ q. Tensors are sequence-first:
/// q, k [B,T,H,K], v and o [B,T,H,V], of one float type; states [N,H,K,V] are fp32, N sequences; K and V are at most 512. Decays are natural
/// logarithms, at most 0. All functions record gradients of every float argument but constant decays.
/// </summary>
/// <remarks>
/// <c>Chunk*</c> works on chunks in parallel over time and is for training and prompts; <c>FusedChunk*</c> walks the chunks with the memory on chip;
/// <c>FusedRecurrent*</c> takes one token after another and is for decoding. All give the same numbers.
/// </remarks>
public static partial class LinearOps
{
    private const int DefaultChunk = 64;

    /// <summary>K^(-1/2) unless the caller named a scale.</summary>
    private static float ScaleOf(float? scale, LinearShape shape) => scale ?? 1 / MathF.Sqrt(shape.K);

    private static (Tensor O, Tensor? FinalState) Recurrent(Tensor q, Tensor k, Tensor v, Recurrence.Gates gates, float? scale,
        Tensor? initialState, bool outputFinalState, bool reverse, bool stateVFirst, CuSeqlens? cuSeqlens, Tensor? finalState)
    {
        var shape = LinearShape.Of(q, k, v, cuSeqlens);
        Require.SameDevice(q, gates.G, gates.Decay.Gamma, gates.Gk, gates.Gv, initialState);
        shape.CheckHeadGate(gates.G, "g");
        shape.CheckGamma(gates.Decay.Gamma, "gGamma");
        shape.CheckChannelGate(gates.Gk, shape.K, "gk");
        shape.CheckChannelGate(gates.Gv, shape.V, "gv");
        shape.CheckState(initialState, stateVFirst, "initialState");
        return Recurrence.Run(shape, q, k, v, gates, ScaleOf(scale, shape), initialState, outputFinalState, reverse, stateVFirst, finalState);
    }

    private static (Tensor O, Tensor? FinalState) ChunkHeadGated(Tensor q, Tensor k, Tensor v, Tensor? g, HeadDecay decay, float? scale,
        Tensor? initialState, bool outputFinalState, bool stateVFirst, CuSeqlens? cuSeqlens, int chunkSize)
    {
        ChunkTiles.Check(chunkSize);
        var shape = CheckHeadGated(q, k, v, g, decay, initialState, stateVFirst, cuSeqlens);
        return HeadGated.Run(shape, chunkSize, q, k, v, g, decay, ScaleOf(scale, shape), initialState, outputFinalState, stateVFirst);
    }

    private static (Tensor O, Tensor? FinalState) FusedChunkHeadGated(Tensor q, Tensor k, Tensor v, Tensor? g, HeadDecay decay, float? scale,
        Tensor? initialState, bool outputFinalState, CuSeqlens? cuSeqlens)
    {
        var shape = CheckHeadGated(q, k, v, g, decay, initialState, false, cuSeqlens);
        if (Math.Max(shape.K, shape.V) > LinearShape.LargestResident) return HeadGated.Run(shape, FittingChunk(shape.T), q, k, v, g, decay, ScaleOf(scale, shape), initialState, outputFinalState, false);
        return FusedChunk.Run(shape, FittingChunk(shape.T), q, k, v, g, decay, ScaleOf(scale, shape), initialState, outputFinalState);
    }

    private static (Tensor O, Tensor? FinalState) ChunkChannelGated(Tensor q, Tensor k, Tensor v, Tensor g, float? scale,
        Tensor? initialState, bool outputFinalState, bool stateVFirst, CuSeqlens? cuSeqlens, int? chunkSize)
    {
        var shape = LinearShape.Of(q, k, v, cuSeqlens);
        var chunk = chunkSize ?? FittingChunk(shape.T);
        ChunkTiles.Check(chunk);
        Require.SameDevice(q, g, initialState);
        shape.CheckChannelGate(g, shape.K, "g");
        shape.CheckState(initialState, stateVFirst, "initialState");
        return ChannelGated.Run(shape, chunk, q, k, v, g, ScaleOf(scale, shape), initialState, outputFinalState, stateVFirst);
    }

    private static LinearShape CheckHeadGated(Tensor q, Tensor k, Tensor v, Tensor? g, HeadDecay decay, Tensor? initialState, bool stateVFirst, CuSeqlens? cuSeqlens)
    {
        var shape = LinearShape.Of(q, k, v, cuSeqlens);
        Require.SameDevice(q, g, decay.Gamma, initialState);
        shape.CheckHeadGate(g, "g");
        shape.CheckGamma(decay.Gamma, "gGamma");
        shape.CheckState(initialState, stateVFirst, "initialState");
        return shape;
    }

    /// <summary>min(64, max(16, the power of 2 that T fits in)).</summary>
    private static int FittingChunk(int length) => length <= 16 ? 16 : length <= 32 ? 32 : DefaultChunk;
}
