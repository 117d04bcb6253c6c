using System.Text.Json.Nodes;
using Fla.Cli.Training;
using Fla.Models;
using Fla.Models.Configs;
using Fla.Models.Tokenizers;
using Fla.Models.Training;
using Fla.Vulkan;
using NUnit.Framework;

namespace Fla.Cli.Tests.Training;

public sealed class SampleWriterTests
{
    [Test]
    public void ModelThatCannotWriteIsTrainedWithout()
    {
        var folder = Directory.CreateTempSubdirectory("fla-samples-").FullName;
        try
        {
            using var device = ComputeDevice.Create(DeviceOptions.FromEnvironment());
            using var model = CausalLM.Create(device, new GlaConfig { VocabSize = 259, HiddenSize = 32, NumHiddenLayers = 1, NumHeads = 1 });
            using var trainer = new Trainer(model, new() { BatchSize = 1, SequenceLength = 8, Schedule = new() { Steps = 9 } });
            var (texts, failures) = (new List<string>(), new List<string>());
            SampleWriter Writer(int[] prompt) => new(folder, trainer, model, new ByteTokenizer())
            {
                Prompts = [prompt], MaxNewTokens = 3, OnSample = (_, before, _) => texts.Add(before), OnFailure = failures.Add,
            };
            using (var writer = Writer([.. "ab"u8.ToArray().Select(b => (int)b)])) writer.Write();
            Assert.That((texts.Single(), failures), Is.EqualTo(("ab", new List<string>())));
            using (var writer = Writer([259]))
            {
                writer.Write();
                writer.Write();
            }
            Assert.That(texts, Has.Count.EqualTo(1));
            Assert.That(failures.Single(), Does.Contain("259"));
            Assert.That(model.IsTraining);
            trainer.RunStep(new int[8]);
            Assert.That(trainer.Collect(), Has.Count.EqualTo(1));
            Assert.That(JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "samples.jsonl")))!["prompt"]!.ToString(), Is.EqualTo("ab"));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
