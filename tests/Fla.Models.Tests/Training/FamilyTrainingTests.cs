using System.Text;
using Fla.Models.Configs;
using Fla.Models.Training;
using Fla.Testing;
using Fla.Vulkan;
using NUnit.Framework;

namespace Fla.Models.Tests.Training;

/// <summary>Fresh models of every family: their weights start where they can learn from.</summary>
public sealed class FamilyTrainingTests(TestDevice device) : DeviceTests(device)
{
    private const int Vocabulary = 24;
    private const int Length = 20;

    private static IEnumerable<string> Names => ModelConfig.Families;

    [Test]
    public void LearnsABatch([ValueSource(nameof(Names))] string family)
    {
        const int Steps = 25;
        using var model = CausalLM.Create(Device, Fresh(family), seed: 5);
        using var trainer = new Trainer(model, new()
        {
            BatchSize = 2, SequenceLength = Length, Schedule = new() { Kind = ScheduleKind.Constant, Peak = 1e-2, Steps = Steps },
        });
        int[] tokens = [.. Enumerable.Range(0, 2 * Length).Select(i => ((i * 7) + (i * i % 11)) % Vocabulary)];
        for (var i = 0; i < Steps; i++) trainer.RunStep(tokens);
        var losses = trainer.Collect();
        Assert.That(losses[0].Loss, Is.EqualTo(Math.Log(Vocabulary)).Within(0.7));
        Assert.That(losses[^1].Loss, Is.LessThan(losses[0].Loss / 2));
    }

    [Test]
    public void FreshWeightsAreFiniteInEveryType([ValueSource(nameof(Names))] string family, [Values(DType.Float16, DType.BFloat16)] DType type)
    {
        using var model = CausalLM.Create(Device, Fresh(family), seed: 5, type);
        foreach (var (name, parameter) in model.NamedParameters()) Assert.That(parameter.ToSingle(), Is.All.Matches<float>(float.IsFinite), name);
    }

    private static ModelConfig Fresh(string family)
    {
        var config = ModelConfig.Parse(Encoding.UTF8.GetBytes($$"""{"model_type":"{{family}}","intermediate_size":64}"""));
        config.SetSizes(hiddenSize: 32, layers: 2, heads: 2);
        config.VocabSize = Vocabulary;
        return config;
    }
}
