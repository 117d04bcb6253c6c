using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch.Tests;

/// <summary>The operators' definitions in TorchSharp's own operations, one token after another, for PyTorch's autograd to differentiate.</summary>
internal static class Recurrences
{
    /// <summary>
    /// S ← diag(e^gk) S diag(e^gv) + k vᵀ, o = scale · Sᵀ q, over [B, T, H, K] and [B, T, H, V]; a gk of one axis less decays whole heads, one of one axis is the same
    /// for all tokens.
    /// </summary>
    public static (Tensor O, Tensor State) Linear(Tensor q, Tensor k, Tensor v, Tensor? gk = null, Tensor? gv = null, double? scale = null, Tensor? initial = null) =>
        Walk(q, v, initial, scale, (state, t) => Decay(state, gk, gv, t) + At(k, t).unsqueeze(-1) * At(v, t).unsqueeze(-2));

    /// <summary>
    /// The delta rule: Ŝ the decayed state, S ← Ŝ + k β(v − Ŝᵀp)ᵀ with p = k unless it is given; with erase and write gates S ← Ŝ + k (w ⊙ v − Ŝᵀ(b ⊙ k))ᵀ.
    /// </summary>
    public static (Tensor O, Tensor State) Delta(Tensor q, Tensor k, Tensor v, Tensor? beta = null, Tensor? gk = null, Tensor? gv = null, Tensor? p = null,
        Tensor? erase = null, Tensor? write = null, bool readsUndecayed = false, double? scale = null, Tensor? initial = null)
    {
        var groups = v.shape[2] / q.shape[2];
        (q, k) = (q.repeat_interleave(groups, 2), k.repeat_interleave(groups, 2));
        p = p?.repeat_interleave(groups, 2);
        return Walk(q, v, initial, scale, (state, t) =>
        {
            var decayed = Decay(state, gk, gv, t);
            var reader = erase is not null ? At(erase, t) * At(k, t) : At(p ?? k, t);
            var held = ((readsUndecayed ? state : decayed) * reader.unsqueeze(-1)).sum(-2);
            var correction = (write is null ? At(v, t) : At(write, t) * At(v, t)) - held;
            if (beta is not null) correction = correction * (beta.ndim == 4 ? At(beta, t) : At(beta, t).unsqueeze(-1));
            return decayed + At(k, t).unsqueeze(-1) * correction.unsqueeze(-2);
        });
    }

    /// <summary>n corrections a token: the decay before the first of them, the reading after the last.</summary>
    public static (Tensor O, Tensor State) DeltaProduct(Tensor q, Tensor k, Tensor v, Tensor g, Tensor beta, int n)
    {
        var decays = torch.stack([g, .. Enumerable.Repeat(torch.zeros_like(g), n - 1)], 2).flatten(1, 2);
        var (o, state) = Delta(q.repeat_interleave(n, 1), k, v, beta, decays);
        return (o.slice(1, n - 1, o.shape[1], n), state);
    }

    /// <summary>S ← diag(e^gk) S + b (Sᵀa)ᵀ + k vᵀ, o = scale · Sᵀ q.</summary>
    public static (Tensor O, Tensor State) Dplr(Tensor q, Tensor k, Tensor v, Tensor a, Tensor b, Tensor? gk = null, double? scale = null, Tensor? initial = null) =>
        Walk(q, v, initial, scale, (state, t) =>
        {
            var read = (state * At(a, t).unsqueeze(-1)).sum(-2);
            return Decay(state, gk, null, t) + At(b, t).unsqueeze(-1) * read.unsqueeze(-2) + At(k, t).unsqueeze(-1) * At(v, t).unsqueeze(-2);
        });

    /// <summary>ln(1 − 2^(−5−h)) of every head.</summary>
    public static Tensor RetentionDecay(long heads) => torch.tensor(Enumerable.Range(0, (int)heads).Select(h => Math.Log(1 - Math.Pow(2, -5 - h))).ToArray());

    private static (Tensor O, Tensor State) Walk(Tensor q, Tensor v, Tensor? initial, double? scale, Func<Tensor, int, Tensor> step)
    {
        var state = initial ?? torch.zeros([q.shape[0], q.shape[2], q.shape[3], v.shape[3]], dtype: q.dtype);
        var outputs = new List<Tensor>();
        for (var t = 0; t < q.shape[1]; t++)
        {
            state = step(state, t);
            outputs.Add((At(q, t).unsqueeze(-1) * state).sum(-2) * (scale ?? Math.Pow(q.shape[3], -0.5)));
        }
        return (torch.stack(outputs, 1), state);
    }

    private static Tensor Decay(Tensor state, Tensor? gk, Tensor? gv, int t)
    {
        if (gk is { ndim: 1 }) state = state * gk.exp().reshape(1, -1, 1, 1);
        else if (gk is { ndim: 3 }) state = state * At(gk, t).exp().unsqueeze(-1).unsqueeze(-1);
        else if (gk is not null) state = state * At(gk, t).exp().unsqueeze(-1);
        return gv is null ? state : state * At(gv, t).exp().unsqueeze(-2);
    }

    private static Tensor At(Tensor x, int t) => x.select(1, t);
}
