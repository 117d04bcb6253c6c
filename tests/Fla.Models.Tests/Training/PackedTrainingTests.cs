using System.Text;
using Fla.Models.Configs;
using Fla.Models.Training;
using Fla.Testing;
using Fla.Vulkan;
using NUnit.Framework;

namespace Fla.Models.Tests.Training;

public sealed class PackedTrainingTests(TestDevice device) : DeviceTests(device)
{
    private const int Vocabulary = 24;
    private const int Length = 90;

    private static readonly int[][] Boundaries = [[0, 70, 77, 78, 90, 90], [0, 30, 60, 90, 90, 90], [0, 3, 5, 12, 89, 90]];

    [Test]
    public void PackedStepIsThatOfItsDocumentsAlone([Values("gla", "retnet")] string family, [Values(1, 2)] int passes)
    {
        using var model = Model(family);
        var batches = Enumerable.Range(0, passes).Select(i => Batch(i)).ToList();
        var (loss, norm) = Separately(model, batches);
        using var trainer = new Trainer(model, Options(passes));
        trainer.RunStep(batches);
        var result = trainer.Collect()[0];
        Assert.That(result.Loss, Is.EqualTo(loss).Within(1e-5));
        Assert.That(result.GradNorm, Is.EqualTo(norm).Within(1e-4 * norm));
    }

    /// <summary>No state may leak in a family, of now or later, that says so.</summary>
    [TestCaseSource(typeof(ModelConfigRegistry), nameof(ModelConfigRegistry.Names))]
    public void FamilyKeepsPackedSequencesApartOrSaysThatItDoesNot(string family)
    {
        var config = ModelConfig.Parse(Encoding.UTF8.GetBytes($$"""{ "model_type": "{{family}}" }"""));
        config.SetSizes(32, 2, 2);
        (config.VocabSize, config.InitializerRange) = (Vocabulary, 0.1);
        using var model = CausalLM.Create(Device, config, seed: 5);
        Assert.That(CausalLM.KeepsSequencesApart(Device, config), Is.EqualTo(model.UsesCuSeqlens));
        if (!model.UsesCuSeqlens)
        {
            Assert.That(() => new Trainer(model, Options()), Throws.TypeOf<TrainingException>().With.Message.Contains(family));
            return;
        }
        var (loss, norm) = Separately(model, [Batch(2)]);
        using var trainer = new Trainer(model, Options());
        trainer.RunStep([Batch(2)]);
        var result = trainer.Collect()[0];
        Assert.That(result.Loss, Is.EqualTo(loss).Within(1e-4));
        Assert.That(result.GradNorm, Is.EqualTo(norm).Within(1e-3 * norm));
    }

    [Test]
    public void ReplayedStepTakesOtherBoundaries([Values(false, true)] bool isCheckpointed)
    {
        var options = Options() with { UsesGradientCheckpointing = isCheckpointed };
        var (replayed, recorded) = (Train(options), Train(options with { UseGraph = false }));
        Assert.That(replayed.Results, Is.EqualTo(recorded.Results));
        Assert.That(replayed.Parameters, Is.EqualTo(recorded.Parameters));
    }

    [Test]
    public void IgnoredTokensTeachNothing()
    {
        var batch = Batch(0);
        var other = batch with { Tokens = [.. batch.Tokens[..78], .. batch.Tokens[78..].Select(token => (token + 1) % Vocabulary)] };
        var results = new[] { batch, other }.Select(b =>
        {
            using var model = Model("gla");
            using var trainer = new Trainer(model, Options());
            trainer.RunStep([b with { Ignored = 12 }]);
            return trainer.Collect()[0].Loss;
        }).ToList();
        Assert.That(results[1], Is.EqualTo(results[0]));
    }

    [Test]
    public void WrongBatchesAreRefused()
    {
        using var model = Model("gla");
        using var trainer = new Trainer(model, Options());
        var batch = Batch(0);
        Assert.That(() => trainer.RunStep([batch, batch]), Throws.TypeOf<TrainingException>());
        Assert.That(() => trainer.RunStep([batch with { Tokens = batch.Tokens[1..] }]), Throws.TypeOf<TrainingException>());
        Assert.That(() => trainer.RunStep([batch with { Boundaries = [0, Length] }]), Throws.TypeOf<TrainingException>());
        Assert.That(() => trainer.RunStep([batch with { Ignored = Length }]), Throws.TypeOf<TrainingException>().With.Message.Contains("nothing to predict"));
        Assert.That(() => trainer.RunStep([batch with { Tokens = [.. batch.Tokens[1..], Vocabulary] }]), Throws.TypeOf<TokenIdException>());
        Assert.That(() => trainer.RunStep(batch.Tokens), Throws.TypeOf<TrainingException>().With.Message.Contains("packed"));
        Assert.That(() => new Trainer(model, Options() with { MaxSequences = -1 }), Throws.TypeOf<TrainingException>());
        using var leaky = Model("linear_attn");
        Assert.That(() => new Trainer(leaky, Options()), Throws.TypeOf<TrainingException>().With.Message.Contains("apart"));
        using var windows = new Trainer(model, Options() with { MaxSequences = 0 });
        Assert.That(() => windows.RunStep([batch]), Throws.TypeOf<TrainingException>().With.Message.Contains("MaxSequences"));
    }

    private static TrainerOptions Options(int passes = 1) => new()
    {
        BatchSize = 3,
        SequenceLength = Length / 3,
        MaxSequences = Boundaries[0].Length - 1,
        AccumulationSteps = passes,
        Schedule = new() { Peak = 5e-3, Steps = 6, WarmupSteps = 2 },
    };

    private static PackedBatch Batch(int seed) =>
        new([.. Enumerable.Range(0, Length).Select(i => (i * 7 + i / 5 * seed + i * i % 11) % Vocabulary)], Boundaries[seed % Boundaries.Length]);

    private static (double Loss, double GradNorm) Separately(CausalLM model, List<PackedBatch> batches)
    {
        var documents = batches.SelectMany(b => Enumerable.Range(0, b.Boundaries.Length - 1).Select(n => b.Tokens[b.Boundaries[n]..b.Boundaries[n + 1]]))
            .Where(d => d.Length > 1).ToList();
        var count = documents.Sum(d => d.Length - 1);
        double loss = 0;
        foreach (var document in documents)
        {
            using var scope = model.Device.Scope();
            var ids = model.Tokens(document);
            var share = (document.Length - 1f) / count;
            var result = model.Forward(ids, new() { Labels = ids }).Loss!;
            Autograd.Backward(result, Tensor.Full(model.Device, DType.Float32, share, result.Shape));
            loss += share * (double)result.Item();
        }
        var norm = Math.Sqrt(model.Parameters().Sum(p => p.Grad!.ToSingle().Sum(g => (double)g * g)));
        model.ClearGradients();
        return (loss, norm);
    }

    private CausalLM Model(string family) => CausalLM.Create(Device, ModelConfig.Parse(Encoding.UTF8.GetBytes($$"""
        {
          "model_type": "{{family}}", "vocab_size": {{Vocabulary}}, "hidden_size": 32, "num_hidden_layers": 2, "num_heads": 2, "intermediate_size": 64,
          {{(family == "gla" ? "\"use_short_conv\": true," : "")}} "initializer_range": 0.1
        }
        """)), seed: 5);

    private (List<StepResult> Results, float[][] Parameters) Train(TrainerOptions options)
    {
        using var model = Model("gla");
        using var trainer = new Trainer(model, options);
        for (var i = 0; i < options.Schedule.Steps; i++) trainer.RunStep([Batch(i)]);
        return ([.. trainer.Collect()], [.. model.Parameters().Select(p => p.ToSingle())]);
    }
}
