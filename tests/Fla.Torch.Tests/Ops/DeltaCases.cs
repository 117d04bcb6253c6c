using TorchSharp;
using static Fla.Torch.fla;
using static Fla.Torch.Tests.Ops.LinearCases;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch.Tests.Ops;

/// <summary>The delta-rule family and what surrounds it.</summary>
internal static class DeltaCases
{
    private const int Batch = 2, Length = 19, Heads = 2, ValueHeads = 4, K = 16, V = 24, Width = Heads * K;

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
    private static readonly (string, Draw, long[]) Read = ("a", Draw.Unit, [Batch, Length, Heads, K]);
    private static readonly (string, Draw, long[]) Written = ("b", Draw.Unit, [Batch, Length, Heads, K]);
    private static readonly (string, Draw, long[]) X = ("x", Draw.Normal, [Batch, Length, Width]);

    public static IEnumerable<OpCase> All =>
    [
        .. Two("delta_rule", [Q, Key, Value, Beta, State],
            t => chunk_delta_rule(t[0], t[1], t[2], t[3], initial_state: t[4], output_final_state: true),
            t => fused_recurrent_delta_rule(t[0], t[1], t[2], t[3], initial_state: t[4], output_final_state: true),
            t => Recurrences.Delta(t[0], t[1], t[2], t[3], initial: t[4])),
        .. Two("gated_delta_rule", [Q, Key, Values, HeadGates, Betas, States],
            t => chunk_gated_delta_rule(t[0], t[1], t[2], t[3], t[4], initial_state: t[5], output_final_state: true),
            t => fused_recurrent_gated_delta_rule(t[0], t[1], t[2], g: t[3], beta: t[4], initial_state: t[5], output_final_state: true),
            t => Recurrences.Delta(t[0], t[1], t[2], t[4], t[3], initial: t[5])),
        .. Two("gdn", [Q, Key, Values, HeadGates, Betas, States],
            t => chunk_gdn(t[0], t[1], t[2], t[3], t[4], initial_state: t[5], output_final_state: true),
            t => fused_recurrent_gdn(t[0], t[1], t[2], g: t[3], beta: t[4], initial_state: t[5], output_final_state: true),
            t => Recurrences.Delta(t[0], t[1], t[2], t[4], t[3], initial: t[5])),
        new("parallel_delta_rule", [Q, Key, Value, Beta],
            t => [parallel_delta_rule(t[0].transpose(1, 2), t[1].transpose(1, 2), t[2].transpose(1, 2), t[3].transpose(1, 2), 0.25f).o.transpose(1, 2)],
            t => [Recurrences.Delta(t[0], t[1], t[2], t[3]) is var (o, _) ? o : t[0]]) { Tolerance = 1e-4 },
        .. Two("kda", [Q, Key, Value, ChannelGate, Beta, State],
            t => chunk_kda(t[0], t[1], t[2], t[3], t[4], initial_state: t[5], output_final_state: true),
            t => fused_recurrent_kda(t[0], t[1], t[2], t[3], t[4], initial_state: t[5], output_final_state: true),
            t => Recurrences.Delta(t[0], t[1], t[2], t[4], t[3], initial: t[5])),
        new("chunk_kda_with_states", [Q, Key, Value, ChannelGate, Beta, State],
            t => chunk_kda_with_states(t[0], t[1], t[2], t[3], t[4], initial_state: t[5], output_final_state: true) is var (o, final, states) ? [o, final!, states] : [],
            t => Recurrences.Delta(t[0], t[1], t[2], t[4], t[3], initial: t[5]) is var (o, s) ? [o, s, t[5].unsqueeze(1)] : []) { HasGradients = false, Tolerance = 1e-4 },
        .. Two("comba", [Q, Key, ("p", Draw.Unit, [Batch, Length, Heads, K]), Value, HeadGate, Beta],
            t => chunk_comba(t[0], t[1], t[3], t[2], t[4], t[5], output_final_state: true),
            t => fused_recurrent_comba(t[0], t[1], t[2], t[3], t[4], t[5], output_final_state: true),
            t => Recurrences.Delta(t[0], t[1], t[3], t[5], t[4], p: t[2], readsUndecayed: true)),
        .. Two("gdn2", [Q, Key, Value, ChannelGate, ("b", Draw.Gate, [Batch, Length, Heads, K]), ("w", Draw.Gate, [Batch, Length, Heads, V])],
            t => chunk_gdn2(t[0], t[1], t[2], t[3], t[4], t[5], output_final_state: true),
            t => fused_recurrent_gdn2(t[0], t[1], t[2], t[3], t[4], t[5], output_final_state: true),
            t => Recurrences.Delta(t[0], t[1], t[2], gk: t[3], erase: t[4], write: t[5])),
        .. Two("dplr_delta_rule", [Q, Key, Value, Read, Written, ChannelGate],
            t => chunk_dplr_delta_rule(t[0], t[1], t[2], t[3], t[4], t[5], output_final_state: true),
            t => fused_recurrent_dplr_delta_rule(t[0], t[1], t[2], t[3], t[4], t[5], output_final_state: true),
            t => Recurrences.Dplr(t[0], t[1], t[2], t[3], t[4], t[5])),
        .. Two("iplr_delta_rule", [Q, Key, Value, Read, Written],
            t => chunk_iplr_delta_rule(t[0], t[1], t[2], t[3], t[4], output_final_state: true),
            t => fused_recurrent_iplr_delta_rule(t[0], t[1], t[2], t[3], t[4], output_final_state: true),
            t => Recurrences.Dplr(t[0], t[1], t[2], t[3], t[4])),
        .. Two("rwkv7", [Q, ChannelGate, Key, Value, Read, Written],
            t => chunk_rwkv7(t[0], t[1], t[2], t[3], t[4], t[5], output_final_state: true),
            t => fused_recurrent_rwkv7(t[0], t[1], t[2], t[3], t[4], t[5], scale: 1),
            t => Recurrences.Dplr(t[0], t[2], t[3], t[4], t[5], t[1], 1)),
        new("fused_mul_recurrent_rwkv7", [Q, ChannelGate, Key, Value, ("kk", Draw.Unit, [Batch, Length, Heads, K]), ("a", Draw.Gate, [Batch, Length, Heads, K])],
            t => Pair(fused_mul_recurrent_rwkv7(t[0], t[1], t[2], t[3], t[4], t[5], output_final_state: true)),
            t => Pair(Recurrences.Dplr(t[0], t[2], t[3], -t[4], t[4] * t[5], t[1], 1))),
        .. Two("gated_delta_product", [Q, ("k", Draw.Unit, [Batch, 2 * Length, Heads, K]), ("v", Draw.Normal, [Batch, 2 * Length, Heads, V]), HeadGate,
            ("beta", Draw.Gate, [Batch, 2 * Length, Heads])],
            t => chunk_gated_delta_product(t[0], t[1], t[2], t[3], t[4], 2, output_final_state: true),
            t => fused_recurrent_gated_delta_product(t[0], t[1], t[2], t[3], t[4], 2, output_final_state: true),
            t => Recurrences.DeltaProduct(t[0], t[1], t[2], t[3], t[4], 2)),
        new("gdn_gate", [("g", Draw.Normal, [Batch, Length, Heads]), ("a_log", Draw.Normal, [Heads]), ("dt_bias", Draw.Normal, [Heads])],
            t => [gdn_gate(t[0], t[1], t[2])], t => [-t[1].exp() * torch.nn.functional.softplus(t[0] + t[2])]),
        new("kda_gate", [("g", Draw.Normal, [Batch, Length, Heads, K]), ("a_log", Draw.Normal, [Heads]), ("dt_bias", Draw.Normal, [Heads, K])],
            t => [kda_gate(t[0], t[1], t[2])], t => [-t[1].exp().unsqueeze(-1) * torch.nn.functional.softplus(t[0] + t[2])]),
        new("fused_addcmul", [X, ("delta", Draw.Normal, [Batch, Length, Width]), .. "rwkvag".Select(stream => ($"x{stream}", Draw.Normal, new long[] { Width }))],
            t => fused_addcmul(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7]), t => [.. t[2..].Select(mix => t[0] + t[1] * mix)]),
        new("fused_k", [X, ("a", Draw.Gate, [Batch, Length, Width]), ("ka", Draw.Normal, [Width])], t => [fused_k(t[0], t[1], t[2])], t => [t[0] + t[0] * (t[1] - 1) * t[2]]),
        new("gate_output_correction", [("o", Draw.Normal, [Batch, Length, Heads * V]), ("r", Draw.Normal, [Batch, Length, Heads, K]), Key, ("rk", Draw.Normal, [Heads, K]), Value,
            ("g", Draw.Normal, [Batch, Length, Heads * V])],
            t => [gate_output_correction(t[0], t[1], t[2], t[3], t[4], t[5])],
            t => [(t[0] + ((t[1] * t[2] * t[3]).sum(-1, keepdim: true) * t[4]).flatten(2)) * t[5]]),
        new("channel_mixing", [X, ("x_prev", Draw.Normal, [Batch, Width]), ("xk", Draw.Gate, [Width]), ("k_weight", Draw.Normal, [Width, 40]), ("v_weight", Draw.Normal, [40, Width])],
            t => [channel_mixing(t[0], t[1], t[2], t[3], t[4]).y],
            t => [(t[0] + (torch.cat([t[1].unsqueeze(1), t[0].narrow(1, 0, Length - 1)], 1) - t[0]) * t[2]).matmul(t[3]).relu().square().matmul(t[4])]),
    ];

    /// <summary>The chunked form and the one that takes one token after another.</summary>
    private static IEnumerable<OpCase> Two(string name, (string, Draw, long[])[] inputs, Func<Tensor[], (Tensor, Tensor?)> chunk, Func<Tensor[], (Tensor, Tensor?)> recurrent,
        Func<Tensor[], (Tensor, Tensor)> reference) =>
    [
        new($"chunk_{name}", inputs, t => Pair(chunk(t)), t => reference(t) is var (o, s) ? [o, s] : []) { Tolerance = 1e-4 },
        new($"fused_recurrent_{name}", inputs, t => Pair(recurrent(t)), t => reference(t) is var (o, s) ? [o, s] : []) { Tolerance = 1e-4 },
    ];
}
