using TorchSharp;
using static Fla.Torch.fla;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch.Tests.Ops;

/// <summary>Softmax attention.</summary>
internal static class AttnCases
{
    private const int Batch = 2, Length = 37, Window = 11, Heads = 4, KeyHeads = 2, K = 16, V = 24;

    public static IEnumerable<OpCase> All =>
    [
        new("parallel_attn", [("q", Draw.Normal, [Batch, Length, Heads, K]), ("k", Draw.Normal, [Batch, Length, KeyHeads, K]), ("v", Draw.Normal, [Batch, Length, KeyHeads, V])],
            t => [parallel_attn(t[0], t[1], t[2], window_size: Window)], t => [Reference(t[0], t[1], t[2])]),
    ];

    private static Tensor Reference(Tensor q, Tensor k, Tensor v)
    {
        Tensor Shared(Tensor x) => x.repeat_interleave(Heads / KeyHeads, 2);
        var logits = torch.einsum("bihk,bjhk->bhij", q, Shared(k)) / Math.Sqrt(K);
        var seen = torch.ones(Length, Length).tril().triu(1 - Window).to_type(torch.ScalarType.Bool);
        return torch.einsum("bhij,bjhv->bihv", logits.masked_fill(seen.logical_not(), double.NegativeInfinity).softmax(-1), Shared(v));
    }
}
