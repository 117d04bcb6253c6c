using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Cli.Benchmarks;

/// <summary>Every op that is timed, under fla's names where fla has it.</summary>
internal static class BenchRegistry
{
    /// <summary>All of them.</summary>
    public static readonly BenchOp[] All =
    [
        .. SequenceFamilies.All.SelectMany(f => f.Ops()),
        new AttentionOp(),
        new RowOp("rms_norm", 1, false, width => width, i => Norms.RmsNorm(i[0], i[1]), RowFormulas.RmsNorm),
        new RowOp("rms_norm_gated", 2, true, width => width, i => Norms.FusedRmsNormGated(i[0], i[1], i[2]), RowFormulas.RmsNormGated),
        new RowOp("swiglu", 2, false, _ => 0, i => Activations.SwiGlu(i[0], i[1]), RowFormulas.SwiGlu),
        new RowOp("rotary", 1, true, _ => 0, i => Rotary.Apply(i[0]), RowFormulas.Rotary),
        new ConvolutionOp(),
        new ProductOp(),
        new HeadLossOp(),
    ];

    /// <summary>The named ops in the registry's order; all of them for no names or "all".</summary>
    /// <exception cref="FlaException">An unknown name.</exception>
    public static BenchOp[] Find(string[] names)
    {
        if (names.Length == 0 || names.Contains("all")) return All;
        var unknown = names.FirstOrDefault(n => All.All(o => o.Name != n));
        return unknown is null ? All.Where(o => names.Contains(o.Name)).ToArray()
            : throw new FlaException($"there is no op '{unknown}' in the benchmark: {string.Join(", ", All.Select(o => o.Name))}");
    }
}
