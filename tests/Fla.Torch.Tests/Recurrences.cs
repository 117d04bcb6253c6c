using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch.Tests;

/// <summary>The operators' definitions in TorchSharp's own operations, one token after another, for PyTorch's autograd to differentiate.</summary>
internal static class Recurrences
{
    /// <summary>S ← diag(e^gk) S diag(e^gv) + k vᵀ, o = scale · Sᵀ q, over [B, T, H, K] and [B, T, H, V]; gates of one axis less decay whole heads.</summary>
    public static (Tensor O, Tensor State) Linear(Tensor q, Tensor k, Tensor v, Tensor? gk = null, Tensor? gv = null, double? scale = null, Tensor? initial = null)
    {
        var (batch, length, heads, width) = (q.shape[0], q.shape[1], q.shape[2], q.shape[3]);
        var state = initial ?? torch.zeros([batch, heads, width, v.shape[3]], dtype: q.dtype);
        var outputs = new List<Tensor>();
        for (var t = 0; t < length; t++)
        {
            if (gk is not null) state = state * (gk.ndim == 3 ? At(gk, t).unsqueeze(-1) : At(gk, t)).exp().unsqueeze(-1);
            if (gv is not null) state = state * At(gv, t).exp().unsqueeze(-2);
            state = state + At(k, t).unsqueeze(-1) * At(v, t).unsqueeze(-2);
            outputs.Add((At(q, t).unsqueeze(-1) * state).sum(-2) * (scale ?? Math.Pow(width, -0.5)));
        }
        return (torch.stack(outputs, 1), state);
    }

    private static Tensor At(Tensor x, int t) => x.select(1, t);
}
