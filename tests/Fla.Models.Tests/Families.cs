namespace Fla.Models.Tests;

/// <summary>The reference cases of whole models that run here.</summary>
internal static class Families
{
    public static IReadOnlyList<string> All { get; } =
        ["gla", "retnet", "linear_attn", "based", "delta_net", "gated_deltanet", "gated_deltaproduct", "comba", "kda", "rwkv7", "gla_hybrid", "gla_attnres"];

    /// <summary>Those whose packed sequences run into one another, as fla's do.</summary>
    public static IReadOnlyList<string> Unpackable { get; } = ["linear_attn", "based"];

    /// <summary>Those with a chunked form on chip besides the two usual ones.</summary>
    public static IReadOnlyList<string> FusedChunked { get; } = ["gla", "retnet", "linear_attn", "based", "gla_hybrid", "gla_attnres"];
}
