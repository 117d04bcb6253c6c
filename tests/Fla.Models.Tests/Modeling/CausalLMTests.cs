using Fla.Layers;
using Fla.Models.Checkpoints;
using Fla.Models.Configs;
using Fla.Testing;
using Fla.Vulkan;
using NUnit.Framework;

namespace Fla.Models.Tests.Modeling;

public sealed class CausalLMTests(TestDevice device) : DeviceTests(device)
{
    private static readonly int[] Ids = [.. Enumerable.Range(0, 20).Select(i => i * 7 % 96)];

    [Test]
    public void LogitsToKeepAreTheLastOnes([Values(0, 1, 3, 10)] int keep)
    {
        using var model = Load();
        using var noGrad = Autograd.NoGrad();
        var ids = model.Tokens(Ids, 2);
        var all = model.Forward(ids).Logits!.ToSingle();
        var kept = model.Forward(ids, new() { LogitsToKeep = keep }).Logits!;
        var count = keep == 0 ? 10 : keep;
        Assert.That(kept.Shape.ToArray(), Is.EqualTo(new[] { 2, count, 96 }));
        float[] expected = [.. all[((10 - count) * 96)..(10 * 96)], .. all[((20 - count) * 96)..]];
        ErrorRatio.AssertClose(kept.ToSingle(), expected, 1e-5, "logits");
    }

    [Test]
    public void RecomputedBlocksGiveTheSameGradients([Values("gla", "retnet", "linear_attn", "gated_deltanet", "rwkv7")] string name)
    {
        using var model = CausalLM.FromPretrained(Golden.Path("models/" + name), Device, DType.Float32);
        model.Train();
        var ids = model.Tokens(Ids, 2);
        var plain = Gradients(model, ids);
        model.UsesGradientCheckpointing = true;
        var recomputed = Gradients(model, ids);
        Assert.That(recomputed.Keys, Is.EqualTo(plain.Keys));
        foreach (var (key, gradient) in plain) Assert.That(recomputed[key], Is.EqualTo(gradient), key);
        using var cache = model.NewCache();
        Assert.That(() => model.Forward(ids, new() { Cache = cache }), Throws.InvalidOperationException);
    }

    [Test]
    public void TheFusedLossIsTheLossOfTheLogits([Values] bool usesL2Warp)
    {
        using var model = Load();
        model.Config.UseL2Warp = usesL2Warp;
        var ids = model.Tokens(Ids, 2);
        var plain = Gradients(model, ids);
        using var before = model.Forward(ids, new() { Labels = ids });
        (model.Config.FuseCrossEntropy, model.Config.FuseLinearCrossEntropy) = (false, true);
        using var after = model.Forward(ids, new() { Labels = ids });
        Assert.That(after.Logits, Is.Null);
        Assert.That(after.Loss!.Item(), Is.EqualTo(before.Loss!.Item()).Within(1e-5));
        foreach (var (key, gradient) in Gradients(model, ids)) ErrorRatio.AssertClose(gradient, plain[key], 1e-4, key);
        using var withoutLabels = model.Forward(ids);
        Assert.That(withoutLabels.Logits, Is.Not.Null);
    }

    [Test]
    public void L2WarpChangesGradientsAndNotTheLoss()
    {
        using var model = Load();
        var ids = model.Tokens(Ids, 2);
        using var before = model.Forward(ids, new() { Labels = ids });
        var plain = Gradients(model, ids)["lm_head.weight"];
        model.Config.UseL2Warp = true;
        using var after = model.Forward(ids, new() { Labels = ids });
        var warped = Gradients(model, ids)["lm_head.weight"];
        Assert.That(after.Loss!.Item(), Is.EqualTo(before.Loss!.Item()));
        Assert.That(ErrorRatio.Of(warped, plain), Is.GreaterThan(1e-6));
    }

    [Test]
    public void IgnoredLabelsCountForNothing()
    {
        using var model = Load();
        var ids = model.Tokens(Ids.AsSpan(0, 10));
        var labels = Ids[..10];
        labels.AsSpan(6).Fill(-100);
        using var shorter = model.Forward(model.Tokens(Ids.AsSpan(0, 6)), new() { Labels = model.Tokens(Ids.AsSpan(0, 6)) });
        using var masked = model.Forward(ids, new() { Labels = Tensor.FromInt32(Device, labels, 1, 10) });
        Assert.That(masked.Loss!.Item(), Is.EqualTo(shorter.Loss!.Item()).Within(1e-5));
    }

    [Test]
    public void FreshWeightsDependOnTheSeedOnly()
    {
        using var first = CausalLM.Create(Device, Small(), 1);
        using var second = CausalLM.Create(Device, Small(), 1);
        using var third = CausalLM.Create(Device, Small(), 2);
        var (a, b, c) = (Weights(first), Weights(second), Weights(third));
        foreach (var key in a.Keys) Assert.That(b[key], Is.EqualTo(a[key]), key);
        Assert.That(c["lm_head.weight"], Is.Not.EqualTo(a["lm_head.weight"]));
        Assert.That(a["model.norm.weight"], Is.All.EqualTo(1));
        Assert.That(a["model.layers.0.attn.gk_proj.1.bias"], Is.All.EqualTo(0));
        foreach (var key in new[] { "lm_head.weight", "model.embeddings.weight", "model.layers.0.mlp.up_proj.weight" })
        {
            Assert.That(a[key].Average(), Is.EqualTo(0).Within(0.002), key);
            Assert.That(Math.Sqrt(a[key].Average(x => (double)x * x)), Is.EqualTo(0.02).Within(0.001), key);
        }
    }

    [Test]
    public void NothingIsKeptWithoutGradients()
    {
        using var model = Load();
        var ids = model.Tokens(Ids, 2);
        using var noGrad = Autograd.NoGrad();
        var before = Device.Memory.Allocations;
        var output = model.Forward(ids);
        Assert.That(Device.Memory.Allocations, Is.EqualTo(before + 1), "only the logits are left");
        output.Dispose();
    }

    [Test]
    public void WrongInputsAreRefused()
    {
        using var model = Load();
        Assert.That(() => model.Tokens([1, 2, 96]), Throws.TypeOf<TokenIdException>().With.Message.Contains("96").And.Message.Contains("position 2"));
        Assert.That(() => model.Tokens([-1]), Throws.TypeOf<TokenIdException>());
        Assert.That(() => model.Tokens([]), Throws.TypeOf<ShapeException>());
        Assert.That(() => model.Tokens([1, 2, 3], 2), Throws.TypeOf<ShapeException>());
        var ids = model.Tokens(Ids, 2);
        Assert.That(() => model.Forward(Tensor.FromInt32(Device, [1, 2], 2)), Throws.TypeOf<ShapeException>());
        Assert.That(() => model.Forward(Tensor.FromInt32(Device, [], 1, 0)), Throws.TypeOf<ShapeException>());
        Assert.That(() => model.Forward(Tensor.Zeros(Device, DType.Float32, 1, 2)), Throws.TypeOf<DTypeException>());
        Assert.That(() => model.Forward(ids, new() { Labels = model.Tokens(Ids) }), Throws.TypeOf<ShapeException>());
        Assert.That(() => model.Forward(ids, new() { LogitsToKeep = -1 }), Throws.TypeOf<ShapeException>());
        Assert.That(() => model.Forward(ids, new() { LogitsToKeep = 1, Labels = ids }), Throws.TypeOf<ShapeException>());
        using var mask = PaddingMask.Left(Device, [3, 4, 5]);
        Assert.That(() => model.Forward(ids, new() { Mask = mask }), Throws.TypeOf<ShapeException>());
    }

    [Test]
    public void LayersThatAreMissingAreRefusedByName()
    {
        var hybrid = new Rwkv7Config { VocabSize = 256, HiddenSize = 64, NumHiddenLayers = 2, Attn = [new() { Layers = [1], NumHeads = 2 }] };
        Assert.That(() => CausalLM.Create(Device, hybrid), Throws.TypeOf<ConfigException>().With.Property("Field").EqualTo("attn"));
        var wrong = Small();
        wrong.NumHeads = 3;
        Assert.That(() => CausalLM.Create(Device, wrong), Throws.TypeOf<ConfigException>());
    }

    private static GlaConfig Small() => new() { VocabSize = 256, HiddenSize = 64, IntermediateSize = 128, NumHeads = 2, NumHiddenLayers = 2, ExpandK = 1 };

    private static Dictionary<string, float[]> Weights(CausalLM model) => model.StateDict().ToDictionary(entry => entry.Key, entry => entry.Value.ToSingle());

    private static Dictionary<string, float[]> Gradients(CausalLM model, Tensor ids)
    {
        using var output = model.Forward(ids, new() { Labels = ids });
        output.Loss!.Backward();
        var gradients = model.StateDict().ToDictionary(entry => entry.Key, entry => entry.Value.Grad!.ToSingle());
        model.ClearGradients();
        return gradients;
    }

    private CausalLM Load() => CausalLM.FromPretrained(Golden.Path("models/gla"), Device, DType.Float32);
}
