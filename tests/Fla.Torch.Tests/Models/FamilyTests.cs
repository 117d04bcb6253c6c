using Fla.Models;
using Fla.Models.Configs;
using Fla.Testing;
using Fla.Vulkan;
using NUnit.Framework;
using TorchSharp;
using static TorchSharp.torch;

namespace Fla.Torch.Tests.Models;

/// <summary>Every family that the library has, through TorchSharp and on the device alone.</summary>
public sealed class FamilyTests(TestDevice device) : TorchTests(device)
{
    private static IEnumerable<ModelConfig> All => typeof(ModelConfig).Assembly.GetExportedTypes()
        .Where(t => t.IsSubclassOf(typeof(ModelConfig)) && !t.IsAbstract).OrderBy(t => t.Name, StringComparer.Ordinal).Select(t => (ModelConfig)Activator.CreateInstance(t)!);

    private static IEnumerable<TestCaseData> Cases => All.Select(c => new TestCaseData(c).SetArgDisplayNames(c.ModelType));

    [TestCaseSource(nameof(Cases))]
    public void GivesTheSameLossAndGradients(ModelConfig config)
    {
        config.SetSizes(64, 2, 2);
        (config.VocabSize, config.IntermediateSize, config.PadTokenId, config.BosTokenId, config.EosTokenId) = (48, 96, null, 1, 2);
        using var model = new TorchCausalLM(config);
        int[] ids = [.. Enumerable.Range(0, 20).Select(i => i * 7 % 48)];
        var onHost = torch.tensor(ids).reshape(2, 10);
        var loss = model.loss(onHost, onHost);
        loss.backward();

        using var folder = new TemporaryFolder();
        model.save_pretrained(folder.Location);
        using var alone = CausalLM.FromPretrained(folder.Location, Device);
        var tokens = alone.Tokens(ids, 2);
        using var output = alone.Forward(tokens, new() { Labels = tokens });
        output.Loss!.Backward();
        Assert.That(loss.item<float>(), Is.EqualTo(output.Loss.Item()).Within(1e-6));
        foreach (var (name, parameter) in alone.NamedParameters())
        {
            var gradient = model.get_parameter(name)!.grad;
            Assert.That(gradient is null, Is.EqualTo(parameter.Grad is null), name);
            if (gradient is not null) ErrorRatio.AssertClose(gradient.data<float>().ToArray(), parameter.Grad!.ToSingle(), 1e-6, name);
        }
        alone.ClearGradients();
    }
}
