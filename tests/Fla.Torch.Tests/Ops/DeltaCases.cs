using static Fla.Torch.fla;
using static Fla.Torch.Tests.Ops.LinearCases;

namespace Fla.Torch.Tests.Ops;

/// <summary>The delta-rule family; the forms that take one token after another have no gradients.</summary>
internal static class DeltaCases
{
    private const int Batch = 2, Length = 19, Heads = 2, ValueHeads = 4, K = 16, V = 24;

    private static readonly (string, Draw, long[]) Q = ("q", Draw.Normal, [Batch, Length, Heads, K]);
    private static readonly (string, Draw, long[]) Key = ("k", Draw.Unit, [Batch, Length, Heads, K]);
    private static readonly (string, Draw, long[]) Value = ("v", Draw.Normal, [Batch, Length, Heads, V]);
    private static readonly (string, Draw, long[]) Values = ("v", Draw.Normal, [Batch, Length, ValueHeads, V]);
    private static readonly (string, Draw, long[]) Beta = ("beta", Draw.Gate, [Batch, Length, Heads]);
    private static readonly (string, Draw, long[]) Betas = ("beta", Draw.Gate, [Batch, Length, ValueHeads]);
    private static readonly (string, Draw, long[]) State = ("initial_state", Draw.Normal, [Batch, Heads, K, V]);
    private static readonly (string, Draw, long[]) States = ("initial_state", Draw.Normal, [Batch, ValueHeads, K, V]);
    private static readonly (string, Draw, long[]) HeadGate = ("g", Draw.LogGate, [Batch, Length, Heads]);
    private static readonly (string, Draw, long[]) HeadGates = ("g", Draw.LogGate, [Batch, Length, ValueHeads]);
    private static readonly (string, Draw, long[]) ChannelGate = ("g", Draw.LogGate, [Batch, Length, Heads, K]);

    public static IEnumerable<OpCase> All =>
    [
        new("fused_recurrent_delta_rule", [Q, Key, Value, Beta, State],
            t => Pair(fused_recurrent_delta_rule(t[0], t[1], t[2], t[3], initial_state: t[4], output_final_state: true)),
            t => Pair(Recurrences.Delta(t[0], t[1], t[2], t[3], initial: t[4]))) { HasGradients = false },
        new("fused_recurrent_gated_delta_rule", [Q, Key, Values, HeadGates, Betas, States],
            t => Pair(fused_recurrent_gated_delta_rule(t[0], t[1], t[2], g: t[3], beta: t[4], initial_state: t[5], output_final_state: true)),
            t => Pair(Recurrences.Delta(t[0], t[1], t[2], t[4], t[3], initial: t[5]))) { HasGradients = false, Note = "grouped values" },
        new("fused_recurrent_kda", [Q, Key, Value, ChannelGate, Beta, State],
            t => Pair(fused_recurrent_kda(t[0], t[1], t[2], t[3], t[4], initial_state: t[5], output_final_state: true)),
            t => Pair(Recurrences.Delta(t[0], t[1], t[2], t[4], t[3], initial: t[5]))) { HasGradients = false },
        new("fused_recurrent_comba", [Q, Key, ("p", Draw.Unit, [Batch, Length, Heads, K]), Value, HeadGate, Beta],
            t => Pair(fused_recurrent_comba(t[0], t[1], t[2], t[3], t[4], t[5], output_final_state: true)),
            t => Pair(Recurrences.Delta(t[0], t[1], t[3], t[5], t[4], p: t[2], readsUndecayed: true))) { HasGradients = false },
        new("fused_recurrent_gdn2", [Q, Key, Value, ChannelGate, ("b", Draw.Gate, [Batch, Length, Heads, K]), ("w", Draw.Gate, [Batch, Length, Heads, V])],
            t => Pair(fused_recurrent_gdn2(t[0], t[1], t[2], t[3], t[4], t[5], output_final_state: true)),
            t => Pair(Recurrences.Delta(t[0], t[1], t[2], gk: t[3], erase: t[4], write: t[5]))) { HasGradients = false },
        new("fused_recurrent_dplr_delta_rule", [Q, Key, Value, ("a", Draw.Unit, [Batch, Length, Heads, K]), ("b", Draw.Unit, [Batch, Length, Heads, K]), ChannelGate],
            t => Pair(fused_recurrent_dplr_delta_rule(t[0], t[1], t[2], t[3], t[4], t[5], output_final_state: true)),
            t => Pair(Recurrences.Dplr(t[0], t[1], t[2], t[3], t[4], t[5]))) { HasGradients = false },
        new("fused_recurrent_iplr_delta_rule", [Q, Key, Value, ("a", Draw.Unit, [Batch, Length, Heads, K]), ("b", Draw.Unit, [Batch, Length, Heads, K])],
            t => Pair(fused_recurrent_iplr_delta_rule(t[0], t[1], t[2], t[3], t[4], output_final_state: true)),
            t => Pair(Recurrences.Dplr(t[0], t[1], t[2], t[3], t[4]))) { HasGradients = false },
        new("fused_recurrent_rwkv7", [Q, ChannelGate, Key, Value, ("a", Draw.Unit, [Batch, Length, Heads, K]), ("b", Draw.Unit, [Batch, Length, Heads, K])],
            t => Pair(fused_recurrent_rwkv7(t[0], t[1], t[2], t[3], t[4], t[5])),
            t => Pair(Recurrences.Dplr(t[0], t[2], t[3], t[4], t[5], t[1]))) { HasGradients = false },
        new("fused_mul_recurrent_rwkv7", [Q, ChannelGate, Key, Value, ("kk", Draw.Unit, [Batch, Length, Heads, K]), ("a", Draw.Gate, [Batch, Length, Heads, K])],
            t => Pair(fused_mul_recurrent_rwkv7(t[0], t[1], t[2], t[3], t[4], t[5], output_final_state: true)),
            t => Pair(Recurrences.Dplr(t[0], t[2], t[3], -t[4], t[4] * t[5], t[1], 1))) { HasGradients = false },
    ];
}
