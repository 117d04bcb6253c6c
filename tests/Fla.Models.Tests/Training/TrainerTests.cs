using Fla.Models.Configs;
using Fla.Models.Training;
using Fla.Testing;
using Fla.Vulkan;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Models.Tests.Training;

public sealed class TrainerTests(TestDevice device) : DeviceTests(device)
{
    private const int Vocabulary = 24;
    private const int Length = 20;

    [Test]
    public void OverfitsABatchToNearZeroLoss()
    {
        using var model = Model();
        using var trainer = new Trainer(model, Options() with { Schedule = new() { Kind = ScheduleKind.Constant, Peak = 1e-2, Steps = 80, WarmupSteps = 5 } });
        var tokens = Batch(1);
        for (var i = 0; i < 80; i++)
        {
            trainer.RunStep(tokens);
            if (trainer.Pending == Trainer.PendingLimit) trainer.Collect();
        }
        var last = trainer.Collect()[^1];
        Assert.That(last.Step, Is.EqualTo(79));
        Assert.That(last.Loss, Is.LessThan(0.05));
        Assert.That(trainer.Evaluate([tokens.AsMemory(0, Length), tokens.AsMemory(Length)]), Is.EqualTo(last.Loss).Within(0.02));
    }

    [Test]
    public void ReplayedStepEqualsRecordedStep()
    {
        var (replayed, recorded) = (Train(Options()), Train(Options() with { UseGraph = false }));
        Assert.That(replayed.Results, Is.EqualTo(recorded.Results));
        Assert.That(replayed.Parameters, Is.EqualTo(recorded.Parameters));
    }

    [Test]
    public void GradientCheckpointingChangesNothing()
    {
        var (kept, recomputed) = (Train(Options()), Train(Options() with { UsesGradientCheckpointing = true }));
        Assert.That(recomputed.Results, Is.EqualTo(kept.Results));
        Assert.That(recomputed.Parameters, Is.EqualTo(kept.Parameters));
    }

    [Test]
    public void AccumulationEqualsALargerBatch()
    {
        var large = Train(Options() with { BatchSize = 4 });
        var accumulated = Train(Options() with { BatchSize = 2, AccumulationSteps = 2 });
        for (var i = 0; i < large.Results.Count; i++)
        {
            Assert.That(accumulated.Results[i].Loss, Is.EqualTo(large.Results[i].Loss).Within(1e-4), $"step {i}");
            Assert.That(accumulated.Results[i].GradNorm, Is.EqualTo(large.Results[i].GradNorm).Within(1e-3 * large.Results[i].GradNorm), $"step {i}");
        }
    }

    [Test]
    public void LearningRateFollowsTheSchedule()
    {
        var results = Train(Options()).Results;
        var schedule = Options().Schedule;
        Assert.That(results.Select(r => r.LearningRate), Is.EqualTo(Enumerable.Range(0, results.Count).Select(i => schedule.At(i))));
    }

    [Test]
    public void HalfPrecisionTrainsWithMasterWeights([Values(DType.BFloat16, DType.Float16)] DType type)
    {
        using var model = Model(type);
        using var trainer = new Trainer(model, Options() with { Schedule = new() { Kind = ScheduleKind.Constant, Peak = 3e-3, Steps = 40 } });
        for (var i = 0; i < 40; i++) trainer.RunStep(Batch(1));
        var losses = trainer.Collect();
        Assert.That(losses[^1].Loss, Is.LessThan(losses[0].Loss - 0.5));
    }

    [Test]
    public void BrokenStepIsReportedAndChangesNothing()
    {
        using var model = Model();
        var embedding = model.NamedParameters().First(p => p.Key == "model.embeddings.weight").Value;
        var values = embedding.ToSingle();
        values[3] = float.PositiveInfinity;
        embedding.Write(values);
        var before = Parameters(model);
        using var trainer = new Trainer(model, Options());
        trainer.RunStep(Enumerable.Repeat(0, 2 * Length).ToArray());
        Assert.That(() => trainer.Collect(), Throws.TypeOf<TrainingException>().With.Message.Contains("step 0"));
        Assert.That(Parameters(model), Is.EqualTo(before));
    }

    [Test]
    public void WrongInputsAreRefused()
    {
        using var model = Model();
        using var trainer = new Trainer(model, Options());
        Assert.That(() => trainer.RunStep(new int[3]), Throws.TypeOf<TrainingException>());
        Assert.That(() => trainer.RunStep(Enumerable.Repeat(Vocabulary, 2 * Length).ToArray()), Throws.TypeOf<TokenIdException>());
        Assert.That(() => trainer.RunStep(new TextDataset(new int[100], Length + 1)), Throws.TypeOf<TrainingException>());
        Assert.That(() => trainer.Evaluate([]), Throws.TypeOf<TrainingException>());
        Assert.That(() => new Trainer(model, Options() with { BatchSize = 0 }), Throws.TypeOf<TrainingException>());
        Assert.That(() => new Trainer(model, Options() with { MaxGradNorm = 0 }), Throws.TypeOf<TrainingException>());
    }

    [Test]
    public void UncollectedStepsAreLimited()
    {
        using var model = Model();
        using var trainer = new Trainer(model, Options());
        for (var i = 0; i < Trainer.PendingLimit; i++) trainer.RunStep(Batch(1));
        Assert.That(() => trainer.RunStep(Batch(1)), Throws.TypeOf<TrainingException>());
        Assert.That(trainer.Collect().Select(r => r.Step), Is.EqualTo(Enumerable.Range(0, Trainer.PendingLimit).Select(i => (long)i)));
        Assert.That(() => trainer.RunStep(Batch(1)), Throws.Nothing);
    }

    private static TrainerOptions Options() => new()
    {
        BatchSize = 2,
        SequenceLength = Length,
        Schedule = new() { Peak = 5e-3, Steps = 6, WarmupSteps = 2 },
    };

    private static int[] Batch(int seed, int windows = 2) =>
        Enumerable.Range(0, windows * Length).Select(i => (i * 7 + i / 5 * seed + i * i % 11) % Vocabulary).ToArray();

    private CausalLM Model(DType type = DType.Float32) => CausalLM.Create(Device, new GlaConfig
    {
        VocabSize = Vocabulary,
        HiddenSize = 32,
        NumHiddenLayers = 2,
        NumHeads = 2,
        IntermediateSize = 64,
        UseShortConv = true,
        InitializerRange = 0.1,
    }, seed: 5, type);

    private (List<StepResult> Results, float[][] Parameters) Train(TrainerOptions options)
    {
        using var model = Model();
        using var trainer = new Trainer(model, options);
        var data = new TextDataset(Batch(3, windows: 40), Length, seed: 1);
        for (var i = 0; i < options.Schedule.Steps; i++) trainer.RunStep(data);
        return ([.. trainer.Collect()], Parameters(model));
    }

    private static float[][] Parameters(CausalLM model) => [.. model.Parameters().Select(p => p.ToSingle())];
}
