using Fla.Models.Configs;
using Fla.Torch.Tests.Modules;
using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch.Tests.Models;

/// <summary>A GLA language model in TorchSharp's operations over a state dict with fla's keys.</summary>
internal static class GlaFormula
{
    public static Tensor Logits(Dictionary<string, Tensor> p, GlaConfig config, Tensor ids)
    {
        var x = p["model.embeddings.weight"][ids];
        for (var i = 0; i < config.NumHiddenLayers; i++)
        {
            var layer = $"model.layers.{i}.";
            x = x + Part($"{layer}attn.").GatedLinearAttention(Norm(x, $"{layer}attn_norm.weight"));
            x = x + Part($"{layer}mlp.").GatedMlp(Norm(x, $"{layer}mlp_norm.weight"));
        }
        return Norm(x, "model.norm.weight").matmul(p["lm_head.weight"].t());

        Tensor Norm(Tensor t, string name) => Formulas.Rms(t, config.NormEps) * p[name];

        LayerFormulas Part(string prefix) => new(p.Where(e => e.Key.StartsWith(prefix, StringComparison.Ordinal)).ToDictionary(e => e.Key[prefix.Length..], e => e.Value), config.NumHeads, config.NormEps);
    }

    /// <summary>Mean cross entropy of every next token.</summary>
    public static Tensor Loss(Dictionary<string, Tensor> p, GlaConfig config, Tensor ids)
    {
        var logits = Logits(p, config, ids);
        var length = ids.shape[1];
        return nn.functional.cross_entropy(logits.narrow(1, 0, length - 1).reshape(-1, config.VocabSize), ids.narrow(1, 1, length - 1).reshape(-1));
    }
}
