using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Cli.Benchmarks;

/// <summary>Some heads of an op, by their numbers, on which constant decays depend.</summary>
internal sealed record HeadSlice(int[] Heads, int Of);

/// <summary>An op on inputs of some heads; null is all of them.</summary>
internal delegate Tensor SequenceForm(Tensor[] inputs, HeadSlice? heads);

/// <summary>The forms of one op, which compute the same: each is checked against the one that is farthest from it, in fp32.</summary>
/// <param name="Name">As in fla's registry, after "chunk_".</param>
/// <param name="Inputs">Its tensors.</param>
/// <param name="Flops">Operations of one token and head, forward and backward, for a number of channels.</param>
internal sealed record SequenceFamily(string Name, SequenceInput[] Inputs, Func<int, (double Forward, double Backward)> Flops)
{
    /// <summary>In chunks.</summary>
    public required SequenceForm Chunk { get; init; }

    /// <summary>In chunks with the state on chip; null where there is none.</summary>
    public SequenceForm? FusedChunk { get; init; }

    /// <summary>Token by token.</summary>
    public required SequenceForm Recurrent { get; init; }

    /// <summary>The entries of the registry.</summary>
    public IEnumerable<BenchOp> Ops()
    {
        yield return Op("chunk_", Chunk, Recurrent);
        if (FusedChunk is not null) yield return Op("fused_chunk_", FusedChunk, Recurrent);
        yield return Op("fused_recurrent_", Recurrent, Chunk);
    }

    private SequenceOp Op(string prefix, SequenceForm form, SequenceForm reference) => new(prefix + Name, Inputs, form, reference, Flops);
}

/// <summary>Every op over [B,T,H,D].</summary>
internal static class SequenceFamilies
{
    private const int Layer = 0, Layers = 12;
    private const int Householders = 2;
    private const SequenceInput X = SequenceInput.Normal, Channels = SequenceInput.ChannelDecay, Heads = SequenceInput.HeadDecay, Beta = SequenceInput.Beta;

    /// <summary>All of them.</summary>
    public static readonly SequenceFamily[] All =
    [
        new("retention", [X, X, X], Additive)
        {
            Chunk = (i, h) => Constant(h, i, RetentionDecay, () => LinearOps.ChunkRetention(i[0], i[1], i[2]).O, g => LinearOps.ChunkSimpleGla(i[0], i[1], i[2], gGamma: g).O),
            FusedChunk = (i, _) => LinearOps.FusedChunkRetention(i[0], i[1], i[2]).O,
            Recurrent = (i, h) => Constant(h, i, RetentionDecay, () => LinearOps.FusedRecurrentRetention(i[0], i[1], i[2]).O, g => LinearOps.FusedRecurrentSimpleGla(i[0], i[1], i[2], gGamma: g).O),
        },
        new("linear_attn", [X, X, X], Additive)
        {
            Chunk = (i, _) => LinearOps.ChunkLinearAttn(i[0], i[1], i[2], normalize: false).O,
            FusedChunk = (i, _) => LinearOps.FusedChunkLinearAttn(i[0], i[1], i[2], normalize: false).O,
            Recurrent = (i, _) => LinearOps.FusedRecurrentLinearAttn(i[0], i[1], i[2]).O,
        },
        new("simple_gla", [X, X, X, Heads], Additive)
        {
            Chunk = (i, _) => LinearOps.ChunkSimpleGla(i[0], i[1], i[2], i[3]).O,
            FusedChunk = (i, _) => LinearOps.FusedChunkSimpleGla(i[0], i[1], i[2], i[3]).O,
            Recurrent = (i, _) => LinearOps.FusedRecurrentSimpleGla(i[0], i[1], i[2], i[3]).O,
        },
        new("lightning_attn", [X, X, X], Additive)
        {
            Chunk = (i, h) => Constant(h, i, LightningDecay, () => LinearOps.ChunkLightningAttn(i[0], i[1], i[2], Layer, Layers).O,
                g => LinearOps.ChunkSimpleGla(i[0], i[1], i[2], gGamma: g).O),
            Recurrent = (i, h) => Constant(h, i, LightningDecay, () => LinearOps.FusedRecurrentLightningAttn(i[0], i[1], i[2], Layer, Layers).O,
                g => LinearOps.FusedRecurrentSimpleGla(i[0], i[1], i[2], gGamma: g).O),
        },
        new("gla", [X, X, X, Channels], Additive)
        {
            Chunk = (i, _) => LinearOps.ChunkGla(i[0], i[1], i[2], i[3]).O,
            Recurrent = (i, _) => LinearOps.FusedRecurrentGla(i[0], i[1], i[2], i[3]).O,
        },
        new("delta_rule", [SequenceInput.Unit, SequenceInput.Unit, X, Beta], Delta)
        {
            Chunk = (i, _) => DeltaOps.ChunkDeltaRule(i[0], i[1], i[2], i[3]).O,
            Recurrent = (i, _) => DeltaOps.FusedRecurrentDeltaRule(i[0], i[1], i[2], i[3]).O,
        },
        new("gdn", [X, X, X, Heads, Beta], Delta)
        {
            Chunk = (i, _) => DeltaOps.ChunkGatedDeltaRule(i[0], i[1], i[2], i[3], i[4], useQkL2NormInKernel: true).O,
            Recurrent = (i, _) => DeltaOps.FusedRecurrentGatedDeltaRule(i[0], i[1], i[2], i[3], beta: i[4], useQkL2NormInKernel: true).O,
        },
        new("gated_delta_product", [X, SequenceInput.Steps, SequenceInput.Steps, Heads, SequenceInput.StepBeta], d => Times(Householders, Delta(d)))
        {
            Chunk = (i, _) => DeltaOps.ChunkGatedDeltaProduct(i[0], i[1], i[2], i[3], i[4], Householders, useQkL2NormInKernel: true).O,
            Recurrent = (i, _) => DeltaOps.FusedRecurrentGatedDeltaProduct(i[0], i[1], i[2], i[3], i[4], Householders, useQkL2NormInKernel: true).O,
        },
        new("comba", [X, X, X, X, Heads, Beta], Delta)
        {
            Chunk = (i, _) => DeltaOps.ChunkComba(i[0], i[1], i[2], i[3], i[4], i[5], useQkL2NormInKernel: true).O,
            Recurrent = (i, _) => DeltaOps.FusedRecurrentComba(i[0], i[1], i[3], i[2], i[4], i[5], useQkL2NormInKernel: true).O,
        },
        new("kda", [X, X, X, Channels, Beta], Delta)
        {
            Chunk = (i, _) => DeltaOps.ChunkKda(i[0], i[1], i[2], i[3], i[4], useQkL2NormInKernel: true).O,
            Recurrent = (i, _) => DeltaOps.FusedRecurrentKda(i[0], i[1], i[2], i[3], i[4], useQkL2NormInKernel: true).O,
        },
        new("gdn2", [X, X, X, Channels, SequenceInput.ChannelBeta, SequenceInput.ChannelBeta], Delta)
        {
            Chunk = (i, _) => DeltaOps.ChunkGdn2(i[0], i[1], i[2], i[3], i[4], i[5], useQkL2NormInKernel: true).O,
            Recurrent = (i, _) => DeltaOps.FusedRecurrentGdn2(i[0], i[1], i[2], i[3], i[4], i[5], useQkL2NormInKernel: true).O,
        },
        new("dplr_delta_rule", [X, X, X, SequenceInput.Small, SequenceInput.Small, Channels], Delta)
        {
            Chunk = (i, _) => DeltaOps.ChunkDplrDeltaRule(i[0], i[1], i[2], i[3], i[4], i[5]).O,
            Recurrent = (i, _) => DeltaOps.FusedRecurrentDplrDeltaRule(i[0], i[1], i[2], i[3], i[4], i[5]).O,
        },
        new("iplr_delta_rule", [X, X, X, SequenceInput.Erasing, SequenceInput.Erased], Delta)
        {
            Chunk = (i, _) => DeltaOps.ChunkIplrDeltaRule(i[0], i[1], i[2], i[3], i[4]).O,
            Recurrent = (i, _) => DeltaOps.FusedRecurrentIplrDeltaRule(i[0], i[1], i[2], i[3], i[4]).O,
        },
        new("rwkv7", [X, SequenceInput.Rwkv7Decay, X, X, SequenceInput.Small, SequenceInput.Small], Delta)
        {
            Chunk = (i, _) => DeltaOps.ChunkRwkv7(i[0], i[1], i[2], i[3], i[4], i[5]).O,
            Recurrent = (i, _) => DeltaOps.FusedRecurrentRwkv7(i[0], i[1], i[2], i[3], i[4], i[5], 1, outputFinalState: false).O,
        },
    ];

    /// <summary>An op of a constant decay: by its name for all heads, under the decays of some otherwise.</summary>
    private static Tensor Constant(HeadSlice? heads, Tensor[] inputs, Func<int, int, double> decay, Func<Tensor> whole, Func<Tensor, Tensor> some) => heads is null ? whole()
        : some(Tensor.From(inputs[0].Device, heads.Heads.Select(h => (float)decay(h, heads.Of)).ToArray(), [heads.Heads.Length]));

    private static double RetentionDecay(int head, int heads) => Math.Log(1 - Math.Pow(2, -5 - head));

    private static double LightningDecay(int head, int heads) => -8.0 / heads * (1 - (double)Layer / Layers) * head;

    private static (double Forward, double Backward) Times(int n, (double Forward, double Backward) work) => (n * work.Forward, n * work.Backward);

    /// <summary>The additive memory's work, a third product with the state, and the inverse within a chunk; backward three times all that.</summary>
    private static (double Forward, double Backward) Delta(int d)
    {
        var forward = 6.0 * d * d + 5.0 * 64 * d;
        return (forward, 3 * forward);
    }

    /// <summary>The additive memory with chunks of 64: states written and read, and half of the products within a chunk; backward five of each.</summary>
    private static (double Forward, double Backward) Additive(int d) => (4.0 * d * d + 2.0 * 64 * d, 10.0 * d * d + 5.0 * 64 * d);
}
