using TorchSharp;
using static Fla.Torch.fla;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch.Tests.Ops;

/// <summary>The linear-attention family.</summary>
internal static class LinearCases
{
    private const int Batch = 2, Length = 21, Heads = 2, K = 16, V = 24;

    private static readonly (string, Draw, long[]) Q = ("q", Draw.Normal, [Batch, Length, Heads, K]);
    private static readonly (string, Draw, long[]) Key = ("k", Draw.Normal, [Batch, Length, Heads, K]);
    private static readonly (string, Draw, long[]) Value = ("v", Draw.Normal, [Batch, Length, Heads, V]);
    private static readonly (string, Draw, long[]) State = ("initial_state", Draw.Normal, [Batch, Heads, K, V]);
    private static readonly (string, Draw, long[]) ChannelGate = ("gk", Draw.LogGate, [Batch, Length, Heads, K]);
    private static readonly (string, Draw, long[]) ValueGate = ("gv", Draw.LogGate, [Batch, Length, Heads, V]);
    private static readonly (string, Draw, long[]) HeadGate = ("g", Draw.LogGate, [Batch, Length, Heads]);

    public static IEnumerable<OpCase> All =>
    [
        new("chunk_gla", [Q, Key, Value, ChannelGate, State], t => Pair(chunk_gla(t[0], t[1], t[2], t[3], initial_state: t[4], output_final_state: true)),
            t => Pair(Recurrences.Linear(t[0], t[1], t[2], t[3], initial: t[4]))),
        new("fused_recurrent_gla", [Q, Key, Value, ChannelGate, ValueGate, State],
            t => Pair(fused_recurrent_gla(t[0], t[1], t[2], t[3], t[4], initial_state: t[5], output_final_state: true)),
            t => Pair(Recurrences.Linear(t[0], t[1], t[2], t[3], t[4], initial: t[5]))),
        .. Simple("chunk_simple_gla", (q, k, v, g, s) => chunk_simple_gla(q, k, v, g, initial_state: s, output_final_state: true)),
        .. Simple("fused_chunk_simple_gla", (q, k, v, g, s) => fused_chunk_simple_gla(q, k, v, g, initial_state: s, output_final_state: true)),
        .. Simple("fused_recurrent_simple_gla", (q, k, v, g, s) => fused_recurrent_simple_gla(q, k, v, g, initial_state: s, output_final_state: true)),
        .. Constant("chunk_retention", () => Recurrences.RetentionDecay(Heads), (q, k, v, s) => chunk_retention(q, k, v, initial_state: s, output_final_state: true)),
        .. Constant("fused_chunk_retention", () => Recurrences.RetentionDecay(Heads), (q, k, v, s) => fused_chunk_retention(q, k, v, initial_state: s, output_final_state: true)),
        .. Constant("fused_recurrent_retention", () => Recurrences.RetentionDecay(Heads), (q, k, v, s) => fused_recurrent_retention(q, k, v, initial_state: s, output_final_state: true)),
        .. Constant("chunk_lightning_attn", Lightning, (q, k, v, s) => chunk_lightning_attn(q, k, v, 1, 4, initial_state: s, output_final_state: true)),
        .. Constant("fused_recurrent_lightning_attn", Lightning, (q, k, v, s) => fused_recurrent_lightning_attn(q, k, v, 1, 4, initial_state: s, output_final_state: true)),
        Plain("chunk_linear_attn", (q, k, v, s) => chunk_linear_attn(q, k, v, initial_state: s, output_final_state: true, normalize: false)),
        Plain("fused_chunk_linear_attn", (q, k, v, s) => fused_chunk_linear_attn(q, k, v, initial_state: s, output_final_state: true, normalize: false)),
        Plain("fused_recurrent_linear_attn", (q, k, v, s) => fused_recurrent_linear_attn(q, k, v, initial_state: s, output_final_state: true)),
    ];

    public static Tensor[] Pair((Tensor O, Tensor? State) results) => [results.O, results.State!];

    private static Tensor Lightning() => torch.tensor(Enumerable.Range(0, Heads).Select(h => -8.0 / Heads * (1 - 1 / 4.0) * h).ToArray());

    private static IEnumerable<OpCase> Simple(string name, Func<Tensor, Tensor, Tensor, Tensor, Tensor, (Tensor, Tensor?)> run) =>
        [new(name, [Q, Key, Value, HeadGate, State], t => Pair(run(t[0], t[1], t[2], t[3], t[4])), t => Pair(Recurrences.Linear(t[0], t[1], t[2], t[3], initial: t[4])))];

    private static IEnumerable<OpCase> Constant(string name, Func<Tensor> decay, Func<Tensor, Tensor, Tensor, Tensor, (Tensor, Tensor?)> run) =>
        [new(name, [Q, Key, Value, State], t => Pair(run(t[0], t[1], t[2], t[3])), t => Pair(Recurrences.Linear(t[0], t[1], t[2], decay(), initial: t[3])))];

    private static OpCase Plain(string name, Func<Tensor, Tensor, Tensor, Tensor, (Tensor O, Tensor? S, Tensor? Z)> run) =>
        new(name, [Q, Key, Value, State], t => run(t[0], t[1], t[2], t[3]) is var r ? [r.O, r.S!] : [], t => Pair(Recurrences.Linear(t[0], t[1], t[2], initial: t[3])));
}
