using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Cli.Benchmarks;

/// <summary>Every op that is timed, under fla's names where fla has it.</summary>
internal static class BenchRegistry
{
    private const SequenceInput X = SequenceInput.Normal;

    /// <summary>All of them.</summary>
    public static readonly BenchOp[] All =
    [
        new SequenceOp("chunk_retention", [X, X, X], i => LinearOps.ChunkRetention(i[0], i[1], i[2]).O, Retention, Additive),
        new SequenceOp("fused_chunk_retention", [X, X, X], i => LinearOps.FusedChunkRetention(i[0], i[1], i[2]).O, Retention, Additive),
        new SequenceOp("chunk_linear_attn", [X, X, X], i => LinearOps.ChunkLinearAttn(i[0], i[1], i[2], normalize: false).O,
            (i, _) => LinearOps.FusedRecurrentSimpleGla(i[0], i[1], i[2]).O, Additive),
        new SequenceOp("chunk_simple_gla", [X, X, X, SequenceInput.HeadDecay], i => LinearOps.ChunkSimpleGla(i[0], i[1], i[2], i[3]).O,
            (i, _) => LinearOps.FusedRecurrentSimpleGla(i[0], i[1], i[2], i[3]).O, Additive),
        new SequenceOp("chunk_gla", [X, X, X, SequenceInput.ChannelDecay], i => LinearOps.ChunkGla(i[0], i[1], i[2], i[3]).O,
            (i, _) => LinearOps.FusedRecurrentGla(i[0], i[1], i[2], i[3]).O, Additive),
        new SequenceOp("chunk_delta_rule", [X, X, X, SequenceInput.Beta], i => DeltaOps.ChunkDeltaRule(i[0], i[1], i[2], i[3], useQkL2NormInKernel: true).O,
            (i, _) => DeltaOps.FusedRecurrentDeltaRule(i[0], i[1], i[2], i[3], useQkL2NormInKernel: true).O, Delta),
        new SequenceOp("chunk_gdn", [X, X, X, SequenceInput.HeadDecay, SequenceInput.Beta], i => DeltaOps.ChunkGatedDeltaRule(i[0], i[1], i[2], i[3], i[4], useQkL2NormInKernel: true).O,
            (i, _) => DeltaOps.FusedRecurrentGatedDeltaRule(i[0], i[1], i[2], i[3], beta: i[4], useQkL2NormInKernel: true).O, Delta),
        new SequenceOp("chunk_kda", [X, X, X, SequenceInput.ChannelDecay, SequenceInput.Beta], i => DeltaOps.ChunkKda(i[0], i[1], i[2], i[3], i[4], useQkL2NormInKernel: true).O,
            (i, _) => DeltaOps.FusedRecurrentKda(i[0], i[1], i[2], i[3], i[4], useQkL2NormInKernel: true).O, Delta),
        new SequenceOp("chunk_rwkv7", [X, SequenceInput.Rwkv7Decay, X, X, SequenceInput.Small, SequenceInput.Small],
            i => DeltaOps.ChunkRwkv7(i[0], i[1], i[2], i[3], i[4], i[5]).O, (i, _) => DeltaOps.FusedRecurrentRwkv7(i[0], i[1], i[2], i[3], i[4], i[5], 1, outputFinalState: false).O, Delta),
        new RowOp("rms_norm", 1, false, width => width, i => Norms.RmsNorm(i[0], i[1]), RowFormulas.RmsNorm),
        new RowOp("rms_norm_gated", 2, true, width => width, i => Norms.FusedRmsNormGated(i[0], i[1], i[2]), RowFormulas.RmsNormGated),
        new RowOp("swiglu", 2, false, _ => 0, i => Activations.SwiGlu(i[0], i[1]), RowFormulas.SwiGlu),
        new RowOp("rotary", 1, true, _ => 0, i => Rotary.Apply(i[0]), RowFormulas.Rotary),
        new ConvolutionOp(),
        new ProductOp(),
        new HeadLossOp(),
    ];

    /// <summary>The named ops in the registry's order; all of them for no names or "all".</summary>
    /// <exception cref="ArgumentException">An unknown name.</exception>
    public static BenchOp[] Find(string[] names)
    {
        if (names.Length == 0 || names.Contains("all")) return All;
        var unknown = names.FirstOrDefault(n => All.All(o => o.Name != n));
        return unknown is null ? All.Where(o => names.Contains(o.Name)).ToArray()
            : throw new ArgumentException($"there is no op '{unknown}' in the benchmark: {string.Join(", ", All.Select(o => o.Name))}");
    }

    private static Tensor Retention(Tensor[] i, int[] heads)
    {
        var decay = Tensor.From(i[0].Device, heads.Select(h => (float)Math.Log(1 - Math.Pow(2, -5 - h))).ToArray(), [heads.Length]);
        return LinearOps.FusedRecurrentSimpleGla(i[0], i[1], i[2], gGamma: decay).O;
    }

    /// <summary>The additive memory's work, a third product with the state, and the inverse within a chunk; backward three times all that.</summary>
    private static (double Forward, double Backward) Delta(int d)
    {
        var forward = 6.0 * d * d + 5.0 * 64 * d;
        return (forward, 3 * forward);
    }

    /// <summary>The additive memory with chunks of 64: states written and read, and half of the products within a chunk; backward five of each.</summary>
    private static (double Forward, double Backward) Additive(int d) => (4.0 * d * d + 2.0 * 64 * d, 10.0 * d * d + 5.0 * 64 * d);
}
