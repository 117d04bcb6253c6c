using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch.Tests.Modules;

/// <summary>Layers written in TorchSharp's operations over a state dict with fla's keys.</summary>
public sealed class LayerFormulas(Dictionary<string, Tensor> p, int heads, double eps = 1e-5)
{
    public Tensor GatedLinearAttention(Tensor x)
    {
        var gate = Split(Map(Map(x, "gk_proj.0"), "gk_proj.1").sigmoid().log() / 16);
        return Output(Recurrences.Linear(Heads(x, "q"), Heads(x, "k"), Heads(x, "v"), gate).O, x);
    }

    public Tensor MultiScaleRetention(Tensor x)
    {
        var (q, k) = (Formulas.Rotary(Heads(x, "q")), Formulas.Rotary(Heads(x, "k")));
        return Output(Recurrences.Linear(q, k, Heads(x, "v"), Recurrences.RetentionDecay(heads)).O, x);
    }

    public Tensor SimpleGatedLinearAttention(Tensor x)
    {
        var gate = Map(x, "gk_proj").sigmoid().log() / 16;
        return Output(Recurrences.Linear(Heads(x, "q"), Heads(x, "k"), Heads(x, "v"), gate).O, x);
    }

    public Tensor LinearAttention(Tensor x)
    {
        var (o, _) = Recurrences.Linear(Feature(Heads(x, "q"), "q"), Feature(Heads(x, "k"), "k"), Heads(x, "v"));
        return Map((Formulas.Rms(o, eps) * p["norm.weight"]).reshape(x.shape[0], x.shape[1], -1), "o_proj");

        Tensor Feature(Tensor t, string side) => Map(t, $"feature_map_{side}.layer1") * Map(t, $"feature_map_{side}.layer2");
    }

    public Tensor DeltaNet(Tensor x)
    {
        var (q, k) = (L2(Heads(x, "q")), L2(Heads(x, "k")));
        return Normed(Recurrences.Delta(q, k, Heads(x, "v"), Map(x, "b_proj").sigmoid()).O, null);
    }

    public Tensor GatedDeltaNet(Tensor x)
    {
        var (q, k) = (L2(Heads(x, "q")), L2(Heads(x, "k")));
        return Normed(Recurrences.Delta(q, k, Heads(x, "v"), Map(x, "b_proj").sigmoid(), HeadDecay(x)).O, nn.functional.silu(Map(x, "g_proj")));
    }

    public Tensor GatedDeltaNet2(Tensor x)
    {
        var (q, k) = (L2(Heads(x, "q")), L2(Heads(x, "k")));
        var (erase, write) = (Split(Map(x, "b_proj").sigmoid()), Split(Map(x, "w_proj").sigmoid()));
        return Normed(Recurrences.Delta(q, k, Heads(x, "v"), gk: ChannelDecay(x), erase: erase, write: write).O, Map(Map(x, "g_proj.0"), "g_proj.1").sigmoid());
    }

    public Tensor KimiDeltaAttention(Tensor x)
    {
        var (q, k) = (L2(Heads(x, "q")), L2(Heads(x, "k")));
        return Normed(Recurrences.Delta(q, k, Heads(x, "v"), Map(x, "b_proj").sigmoid(), ChannelDecay(x)).O, Map(Map(x, "g_proj.0"), "g_proj.1").sigmoid());
    }

    public Tensor Comba(Tensor x)
    {
        var (q, k) = (Heads(x, "q"), Heads(x, "k"));
        var erased = k * p["decay"].sigmoid().unsqueeze(-1);
        q = q - erased * p["D"].unsqueeze(-1);
        var (o, _) = Recurrences.Delta(L2(q), L2(k), Heads(x, "v"), Map(x, "b_proj").sigmoid(), HeadDecay(x), p: L2(erased), readsUndecayed: true);
        return Normed(o, Map(x, "g_proj").sigmoid());
    }

    public Tensor GatedDeltaProduct(Tensor x)
    {
        const int Steps = 2;
        var beta = 2 * Map(x, "b_proj").sigmoid();
        var (o, _) = Recurrences.DeltaProduct(L2(Heads(x, "q")), L2(Rows(Heads(x, "k"))), Rows(Heads(x, "v")), HeadDecay(x), beta.reshape(x.shape[0], Steps * x.shape[1], heads), Steps);
        return Normed(o, nn.functional.silu(Map(x, "g_proj")));

        Tensor Rows(Tensor t) => t.reshape(x.shape[0], Steps * x.shape[1], heads, -1);
    }

    public Tensor Rwkv7Attention(Tensor x)
    {
        var delta = torch.cat([torch.zeros_like(x.narrow(1, 0, 1)), x.narrow(1, 0, x.shape[1] - 1)], 1) - x;
        var r = Split(Map(Mixed("r"), "r_proj"));
        var w = Split(-Math.Exp(-0.5) * LowRank(Mixed("w"), "w_lora", t => t.tanh()).sigmoid());
        var (k, v) = (Map(Mixed("k"), "k_proj"), Split(Map(Mixed("v"), "v_proj")));
        var a = LowRank(Mixed("a"), "a_lora", t => t).sigmoid();
        var removal = L2(Split(k * p["k_k"]), 1e-24);
        var keys = Split(k * (1 + (a - 1) * p["k_a"]));
        var (o, _) = Recurrences.Dplr(r, keys, v, -removal, removal * Split(a), w, 1);
        var normed = Formulas.Layer(o, eps * o.shape[3]).flatten(2) * p["g_norm.weight"] + p["g_norm.bias"];
        var bonus = ((r * keys * p["r_k"]).sum(-1, keepdim: true) * v).flatten(2);
        return Map((normed + bonus) * LowRank(Mixed("g"), "g_lora", t => t.sigmoid()), "o_proj");

        Tensor Mixed(string stream) => x + delta * p[$"x_{stream}"];

        Tensor LowRank(Tensor t, string name, Func<Tensor, Tensor> activation) => Map(activation(Map(t, $"{name}.lora.0")), $"{name}.lora.2");
    }

    public Tensor Attention(Tensor x)
    {
        var (q, k) = (Formulas.Rotary(Heads(x, "q")), Formulas.Rotary(Heads(x, "k")));
        var later = torch.ones(x.shape[1], x.shape[1]).triu(1).to(ScalarType.Bool);
        var logits = torch.einsum("bihk,bjhk->bhij", q, k) * Math.Pow(q.shape[3], -0.5);
        return Map(torch.einsum("bhij,bjhv->bihv", logits.masked_fill(later, double.NegativeInfinity).softmax(-1), Heads(x, "v")).flatten(2), "o_proj");
    }

    public Tensor Rwkv7FeedForward(Tensor x)
    {
        var before = torch.cat([torch.zeros_like(x.narrow(1, 0, 1)), x.narrow(1, 0, x.shape[1] - 1)], 1);
        return Map(Map(x + (before - x) * p["x_k"], "key").relu().square(), "value");
    }

    public Tensor GatedMlp(Tensor x) => Map(nn.functional.silu(Map(x, "gate_proj")) * Map(x, "up_proj"), "down_proj");

    public Tensor RmsNorm(Tensor x) => Formulas.Rms(x, 1e-6) * p["weight"];

    public Tensor LayerNorm(Tensor x) => Formulas.Layer(x) * p["weight"] + p["bias"];

    public Tensor GroupNorm(Tensor x) => Formulas.Layer(Split(x)).reshape(x.shape) * p["weight"] + p["bias"];

    public Tensor HadamardFeatureMap(Tensor x) => Map(x, "layer1") * Map(x, "layer2");

    public Tensor HedgehogFeatureMap(Tensor x)
    {
        var h = 2 * Map(x, "layer");
        return torch.cat([h, -h], -1).softmax(-1);
    }

    public Tensor T2RFeatureMap(Tensor x) => Map(x, "layer").relu();

    public Tensor ShortConvolution(Tensor x) => Formulas.Convolve(x, p["weight"]);

    private Tensor Output(Tensor o, Tensor x) =>
        Map((Formulas.Rms(o, eps) * p["g_norm_swish_gate.weight"] * nn.functional.silu(Split(Map(x, "g_proj")))).reshape(x.shape[0], x.shape[1], -1), "o_proj");

    /// <summary>The delta family's output: norm per head, gate, projection.</summary>
    private Tensor Normed(Tensor o, Tensor? gate)
    {
        var y = (Formulas.Rms(o, eps) * p["o_norm.weight"]).flatten(2);
        return Map(gate is null ? y : y * gate, "o_proj");
    }

    private Tensor HeadDecay(Tensor x) => -p["A_log"].exp() * nn.functional.softplus(Map(x, "a_proj") + p["dt_bias"]);

    private Tensor ChannelDecay(Tensor x) => -p["A_log"].exp().unsqueeze(-1) * nn.functional.softplus(Split(Map(Map(x, "f_proj.0"), "f_proj.1") + p["dt_bias"]));

    private static Tensor L2(Tensor x, double eps = 1e-6) => x * torch.rsqrt(x.square().sum(-1, keepdim: true) + eps);

    private Tensor Heads(Tensor x, string side)
    {
        var mapped = Map(x, $"{side}_proj");
        return Split(p.TryGetValue($"{side}_conv1d.weight", out var kernel) ? Formulas.Convolve(mapped, kernel) : mapped);
    }

    private Tensor Map(Tensor x, string name)
    {
        var y = x.matmul(p[$"{name}.weight"].t());
        return p.TryGetValue($"{name}.bias", out var bias) ? y + bias : y;
    }

    private Tensor Split(Tensor x) => x.reshape(x.shape[0], x.shape[1], heads, -1);
}
