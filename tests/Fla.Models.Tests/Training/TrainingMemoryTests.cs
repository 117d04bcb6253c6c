using Fla.Models.Configs;
using Fla.Models.Training;
using Fla.Testing;
using Fla.Vulkan;
using NUnit.Framework;

namespace Fla.Models.Tests.Training;

public sealed class TrainingMemoryTests(TestDevice device) : DeviceTests(device)
{
    private const double Tolerance = 0.02;

    public static IEnumerable<TestCaseData> Runs()
    {
        var gla = new GlaConfig { VocabSize = 300, HiddenSize = 64, NumHiddenLayers = 2, NumHeads = 2 };
        var options = new TrainerOptions { BatchSize = 2, SequenceLength = 96, Schedule = new() { Steps = 4 } };
        yield return new TestCaseData(gla, DType.Float32, options, false).SetArgDisplayNames("f32");
        yield return new TestCaseData(gla, DType.BFloat16, options with { BatchSize = 5, UsesGradientCheckpointing = true }, false).SetArgDisplayNames("bf16, checkpointed");
        yield return new TestCaseData(gla, DType.Float16, options with { AccumulationSteps = 2 }, true).SetArgDisplayNames("f16, accumulated, distilled");
        yield return new TestCaseData(gla, DType.Float32, options with { MaxSequences = 3 }, false).SetArgDisplayNames("packed");
        yield return new TestCaseData(gla, DType.Float32, options with { Loss = new() { IsFused = false }, UseGraph = false }, false).SetArgDisplayNames("plain loss, recorded");
        yield return new TestCaseData(new RetNetConfig { VocabSize = 40, HiddenSize = 64, NumHiddenLayers = 3, NumHeads = 2 }, DType.BFloat16, options with { SequenceLength = 200 }, false)
            .SetArgDisplayNames("retention");
    }

    [TestCaseSource(nameof(Runs))]
    public void PredictionIsWhatTheAllocatorMeasures(ModelConfig config, DType type, TrainerOptions options, bool isDistilled)
    {
        // A device of its own: in the shared one the allocator begins with what earlier tests left cached.
        using var own = ComputeDevice.Create(Device.Options);
        var predicted = TrainingMemory.Predict(own, config, type, options, isDistilled ? config : null);
        Assert.That((own.Memory.Used, own.Memory.Held, own.Memory.Allocations), Is.EqualTo((0, 0, 0)), "a prediction takes nothing");

        using var teacher = isDistilled ? CausalLM.Create(own, config, seed: 2, type) : null;
        using var model = CausalLM.Create(own, config, dtype: type);
        using var trainer = new Trainer(model, options with { Loss = options.Loss with { Teacher = teacher } });
        var row = options.BatchSize * options.SequenceLength;
        for (var i = 0; i < 2; i++)
        {
            if (options.MaxSequences == 0) trainer.RunStep(new int[options.TokensPerStep]);
            else trainer.RunStep([new PackedBatch(new int[row], [0, 50, 120, row])]);
        }
        trainer.Collect();
        trainer.Evaluate(Enumerable.Repeat<ReadOnlyMemory<int>>(new int[options.SequenceLength], options.BatchSize));
        TestContext.Out.WriteLine($"peak {own.Memory.Peak} measured, {predicted.Peak} predicted; held {own.Memory.PeakHeld} and {predicted.Held}; {predicted}");
        Assert.That(predicted.Peak, Is.EqualTo((double)own.Memory.Peak).Within(Tolerance * own.Memory.Peak));
        Assert.That(predicted.Held, Is.EqualTo((double)own.Memory.PeakHeld).Within(Tolerance * own.Memory.PeakHeld));
        Assert.That(predicted.Parameters, Is.GreaterThanOrEqualTo(model.Parameters().Sum(p => p.ByteCount)));
        Assert.That(predicted.Teacher, Is.EqualTo(isDistilled ? predicted.Parameters : 0));
    }

    [Test]
    public void FusedLossNeverHoldsTheLogitsOfAllTokens()
    {
        var config = new GlaConfig { VocabSize = 50000, HiddenSize = 32, NumHiddenLayers = 1, NumHeads = 1 };
        var options = new TrainerOptions { BatchSize = 8, SequenceLength = 128, Schedule = new() { Steps = 4 } };
        var logits = 8L * 128 * config.VocabSize * sizeof(float);
        Assert.That(TrainingMemory.Predict(Device, config, DType.Float32, options).Peak, Is.LessThan(logits / 2), "the default");
        Assert.That(TrainingMemory.Predict(Device, config, DType.Float32, options with { Loss = new() { IsFused = false } }).Peak, Is.GreaterThan(logits));
    }

    [Test]
    public void ImpossibleRunIsRefusedWithTheLargestBatchThatFits()
    {
        var config = new GlaConfig { VocabSize = 100, HiddenSize = 64, NumHiddenLayers = 2, NumHeads = 2 };
        var options = new TrainerOptions { BatchSize = 2, SequenceLength = 128, Schedule = new() { Steps = 4 } };
        long limit;
        using (var own = ComputeDevice.Create(Device.Options)) limit = TrainingMemory.Predict(own, config, DType.Float32, options).Peak;
        using var small = ComputeDevice.Create(Device.Options with { MemoryLimit = limit });
        Assert.That(() => TrainingMemory.Require(small, config, DType.Float32, options), Throws.Nothing);
        var error = Assert.Throws<TrainingMemoryException>(() => TrainingMemory.Require(small, config, DType.Float32, options with { BatchSize = 9 }))!;
        Assert.That(error.LargestBatch, Is.EqualTo(2));
        Assert.That(error.LargestCheckpointedBatch, Is.GreaterThan(2));
        Assert.That(error.Available, Is.EqualTo(limit));
        Assert.That(error.Message, Does.Contain("largest batch that fits is 2"));
        error = Assert.Throws<TrainingMemoryException>(() => TrainingMemory.Require(small, config, DType.Float32, options with { SequenceLength = 4096 }))!;
        Assert.That((error.LargestBatch, error.LargestCheckpointedBatch), Is.EqualTo(((int?)null, (int?)null)));

        using var model = CausalLM.Create(small, config);
        using (var trainer = new Trainer(model, options))
        {
            trainer.RunStep(new int[options.TokensPerStep]);
            Assert.That(trainer.Collect(), Has.Count.EqualTo(1), "what fits runs");
        }
        using var larger = new Trainer(model, options with { BatchSize = 3 });
        Assert.That(() => larger.RunStep(new int[3 * 128]), Throws.TypeOf<GpuOutOfMemoryException>(), "what does not fit does not run");
    }
}
