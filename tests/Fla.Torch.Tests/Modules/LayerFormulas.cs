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

    public Tensor GatedMlp(Tensor x) => Map(nn.functional.silu(Map(x, "gate_proj")) * Map(x, "up_proj"), "down_proj");

    public Tensor RmsNorm(Tensor x) => Formulas.Rms(x, 1e-6) * p["weight"];

    public Tensor LayerNorm(Tensor x) => Formulas.Layer(x) * p["weight"] + p["bias"];

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
