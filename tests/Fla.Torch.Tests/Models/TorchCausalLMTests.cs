using Fla.Models;
using Fla.Models.Checkpoints;
using Fla.Models.Configs;
using Fla.Testing;
using Fla.Vulkan;
using NUnit.Framework;
using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch.Tests.Models;

public sealed class TorchCausalLMTests(TestDevice device) : TorchTests(device)
{
    private static readonly long[] Ids = [.. Enumerable.Range(0, 24).Select(i => i * 7L % 40)];

    private static GlaConfig Small => new() { VocabSize = 40, HiddenSize = 32, NumHiddenLayers = 2, NumHeads = 2, IntermediateSize = 48, InitializerRange = 0.1 };

    [Test]
    public void LossAndGradientsFollowTheFormula()
    {
        using var model = new TorchCausalLM(Small);
        var parameters = model.state_dict().ToDictionary(p => p.Key, p => Double(p.Value));
        var ids = torch.tensor(Ids).reshape(2, 12);
        AssertSame([model.forward(ids), model.loss(ids, ids)], [GlaFormula.Logits(parameters, Small, ids), GlaFormula.Loss(parameters, Small, ids)],
            [.. model.named_parameters().Select(p => (p.name, (Tensor)p.parameter, parameters[p.name]))], 5e-5);
    }

    [Test]
    public void ATiedHeadHasBothNamesAndOneGradient()
    {
        var config = Small;
        config.TieWordEmbeddings = true;
        using var model = new TorchCausalLM(config);
        Assert.That(model.state_dict().Keys, Does.Contain("lm_head.weight").And.Contain("model.embeddings.weight"));
        Assert.That(model.named_parameters().Select(p => p.name), Does.Not.Contain("lm_head.weight"));
        var parameters = model.state_dict().ToDictionary(p => p.Key, p => Double(p.Value));
        parameters["lm_head.weight"] = parameters["model.embeddings.weight"];
        var ids = torch.tensor(Ids).reshape(2, 12);
        AssertSame([model.loss(ids, ids)], [GlaFormula.Loss(parameters, config, ids)],
            [("embedding", model.get_parameter("model.embeddings.weight")!, parameters["model.embeddings.weight"])], 5e-5);
    }

    [Test]
    public void CheckpointsGoBothWays()
    {
        using var folder = new TemporaryFolder();
        using var model = new TorchCausalLM(Small);
        var ids = torch.tensor(Ids).reshape(2, 12);
        using (torch.no_grad()) model.get_parameter("lm_head.weight")!.mul_(2);
        model.save_pretrained(folder.Location);
        using var again = TorchCausalLM.from_pretrained(folder.Location);
        AssertClose(again.forward(ids), model.forward(ids), 1e-6, "from_pretrained");

        model.save_safetensors(folder.File("weights.safetensors"));
        using var third = new TorchCausalLM(Small);
        third.load_safetensors(folder.File("weights.safetensors"));
        AssertClose(third.forward(ids), model.forward(ids), 1e-6, "load_safetensors");

        // A folder whose weights are of torch.save, as older models have them.
        File.Delete(folder.File("model.safetensors"));
        model.save_pickle(folder.File("pytorch_model.bin"));
        using var fourth = TorchCausalLM.from_pretrained(folder.Location);
        AssertClose(fourth.forward(ids), model.forward(ids), 1e-6, "pytorch_model.bin");
        using var onDevice = CausalLM.FromPretrained(folder.Location, Device);
        using var tokens = onDevice.Tokens(Array.ConvertAll(Ids, id => (int)id), 2);
        using var output = onDevice.Forward(tokens);
        ErrorRatio.AssertClose(output.Logits!.ToSingle(), model.forward(ids).data<float>().ToArray(), 1e-6, "on the device");

        using var other = new TorchCausalLM(new GlaConfig { VocabSize = 41, HiddenSize = 32, NumHiddenLayers = 2, NumHeads = 2, IntermediateSize = 48 });
        Assert.That(() => other.load_safetensors(folder.File("weights.safetensors")), Throws.TypeOf<CheckpointException>().With.Message.Contains("40"));
        Assert.That(() => nn.Linear(3, 3).load_safetensors(folder.File("weights.safetensors")), Throws.TypeOf<CheckpointException>().With.Message.Contains("not in the module"));
    }

    [Test]
    public void IdsOutsideTheVocabularyAreATypedError()
    {
        using var model = new TorchCausalLM(Small);
        var ids = torch.tensor(Ids).reshape(2, 12);
        Assert.That(() => model.forward(ids + 1), Throws.TypeOf<TokenIdException>());
        Assert.That(() => model.loss(ids, ids - 1), Throws.TypeOf<TokenIdException>());
        Assert.That(() => model.forward(ids.to(ScalarType.Float32)), Throws.TypeOf<DTypeException>());
        var ignored = ids.clone();
        ignored[0] = -100;
        Assert.That(model.loss(ids, ignored).item<float>(), Is.Positive);
    }

    [Test]
    public void CheckpointingChangesMemoryAndNotGradients()
    {
        using var model = new TorchCausalLM(Small);
        model.train();
        var ids = torch.tensor(Ids).reshape(2, 12);
        var weight = model.get_parameter("model.layers.0.attn.q_proj.weight")!;
        var kept = torch.autograd.grad([model.loss(ids, ids)], [weight])[0];
        model.gradient_checkpointing = true;
        AssertClose(torch.autograd.grad([model.loss(ids, ids)], [weight])[0], kept, 1e-6, "gradient");
    }
}
