using Fla.Models.Checkpoints;
using Fla.Models.Configs;
using Fla.Models.Training;
using Fla.Testing;
using Fla.Vulkan;
using NUnit.Framework;

namespace Fla.Models.Tests.Training;

public sealed class RunFolderTests(TestDevice device) : DeviceTests(device)
{
    private const int Length = 16;

    private static readonly TrainerOptions Options = new()
    {
        BatchSize = 2,
        SequenceLength = Length,
        Schedule = new() { Peak = 5e-3, Steps = 7, WarmupSteps = 2 },
    };

    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("fla-run-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void ResumedRunEqualsUninterruptedOne([Values(DType.Float32, DType.BFloat16, DType.Float16)] DType type)
    {
        var runs = new RunFolder(_folder);
        var whole = Train(type, 7, null, null);
        var first = Train(type, 4, null, runs);
        var second = Train(type, 7, runs.PathOf(4), null);
        Assert.That(first.Losses.Concat(second.Losses), Is.EqualTo(whole.Losses));
        Assert.That(second.Parameters, Is.EqualTo(whole.Parameters));
        Assert.That(first.Parameters, Is.Not.EqualTo(whole.Parameters));
    }

    [Test]
    public void UnfinishedCheckpointsDoNotCount()
    {
        var runs = new RunFolder(_folder);
        Assert.That(runs.Steps, Is.Empty);
        Train(DType.Float32, 2, null, runs);
        Directory.CreateDirectory(runs.PathOf(3) + ".unfinished");
        Directory.CreateDirectory(Path.Combine(_folder, "step-x"));
        Assert.That(runs.Steps, Is.EqualTo(new long[] { 2 }));
        Assert.That(new RunFolder(Path.Combine(_folder, "none")).Steps, Is.Empty);
    }

    [Test]
    public void OldCheckpointsAreRemoved()
    {
        var runs = new RunFolder(_folder);
        using var model = Model(DType.Float32);
        using var trainer = new Trainer(model, Options);
        for (var i = 0; i < 4; i++)
        {
            trainer.RunStep(Data());
            Assert.That(() => runs.Save(trainer), Throws.TypeOf<TrainingException>(), "not collected");
            trainer.Collect();
            runs.Save(trainer, folder => File.WriteAllText(Path.Combine(folder, "note"), "x"), keepLast: 2);
        }
        Assert.That(runs.Steps, Is.EqualTo(new long[] { 3, 4 }));
        Assert.That(File.Exists(Path.Combine(runs.PathOf(4), "note")));
    }

    [Test]
    public void OtherModelsStateIsRefused()
    {
        var runs = new RunFolder(_folder);
        Train(DType.BFloat16, 1, null, runs);
        using var model = Model(DType.Float32);
        using var trainer = new Trainer(model, Options);
        Assert.That(() => trainer.Load(runs.PathOf(1)), Throws.TypeOf<CheckpointException>().With.Message.Contains("tensors"));
        Assert.That(() => trainer.Load(_folder), Throws.TypeOf<CheckpointException>());
        File.Delete(Path.Combine(runs.PathOf(1), Checkpoint.FileName));
        Assert.That(() => trainer.Load(runs.PathOf(1)), Throws.TypeOf<CheckpointException>());
    }

    private static TextDataset Data() => new([.. Enumerable.Range(0, 300).Select(i => i * i / 7 % 20)], Length, seed: 2);

    private CausalLM Model(DType type) =>
        CausalLM.Create(Device, new GlaConfig { VocabSize = 20, HiddenSize = 32, NumHiddenLayers = 1, NumHeads = 2, IntermediateSize = 64 }, seed: 5, type);

    private (List<double> Losses, float[][] Parameters) Train(DType type, int steps, string? from, RunFolder? to)
    {
        using var model = Model(type);
        using var trainer = new Trainer(model, Options);
        if (from != null) trainer.Load(from);
        while (trainer.Step < steps) trainer.RunStep(Data());
        var losses = trainer.Collect().Select(r => r.Loss).ToList();
        to?.Save(trainer);
        return (losses, [.. model.Parameters().Select(p => p.ToSingle())]);
    }
}
