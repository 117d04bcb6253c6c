using Fla.Layers;
using Fla.Testing;
using NUnit.Framework;
using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch.Tests.Modules;

public sealed class GatedLinearAttentionTests(TestDevice device) : TorchTests(device)
{
    private const int Heads = 2;

    [Test]
    public void FollowsItsFormulaForwardAndBackward()
    {
        using var layer = Create();
        var parameters = layer.state_dict().ToDictionary(p => p.Key, p => Double(p.Value));
        var x = Leaf(2, 70, 32);
        var xd = Double(x);
        AssertSame([layer.forward(x)], [Formula(xd, parameters)],
            [("x", x, xd), .. layer.named_parameters().Select(p => (p.name, (Tensor)p.parameter, parameters[p.name]))]);
    }

    [Test]
    public void ItsStateDictHasFlasKeys()
    {
        using var layer = Create();
        string[] keys = ["q_proj.weight", "k_proj.weight", "v_proj.weight", "g_proj.weight", "gk_proj.0.weight", "gk_proj.1.weight", "gk_proj.1.bias", "o_proj.weight",
            "g_norm_swish_gate.weight"];
        Assert.That(layer.state_dict().Keys, Is.EquivalentTo(keys));
    }

    private static TorchModule<GatedLinearAttention> Create() =>
        new((device, dtype) => new(device, new() { HiddenSize = 32, NumHeads = Heads, ExpandK = 1 }, dtype), (module, x) => module.Forward(x));

    private static Tensor Formula(Tensor x, Dictionary<string, Tensor> p)
    {
        var (q, k, v) = (Split(Map("q_proj")), Split(Map("k_proj")), Split(Map("v_proj")));
        var low = x.matmul(p["gk_proj.0.weight"].t());
        var gate = Split(torch.nn.functional.logsigmoid(low.matmul(p["gk_proj.1.weight"].t()) + p["gk_proj.1.bias"]) / 16);
        var (o, _) = Recurrences.Linear(q, k, v, gate);
        o = o * torch.rsqrt(o.square().mean([-1], keepdim: true) + 1e-5) * p["g_norm_swish_gate.weight"] * torch.nn.functional.silu(Split(Map("g_proj")));
        return o.reshape(x.shape).matmul(p["o_proj.weight"].t());

        Tensor Map(string name) => x.matmul(p[$"{name}.weight"].t());

        Tensor Split(Tensor t) => t.reshape(x.shape[0], x.shape[1], Heads, -1);
    }
}
