using Fla.Models;
using Fla.Models.Configs;
using Fla.Models.Training;
using Fla.Testing;
using NUnit.Framework;
using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;
using TorchAdamW = TorchSharp.Modules.AdamW;

namespace Fla.Torch.Tests.Models;

/// <summary>The library's trainer beside PyTorch: the same model from the same weights on the same batches, loss by loss.</summary>
public sealed class TrainerAgainstTorchTests(TestDevice device) : TorchTests(device)
{
    private const int Steps = 200, Batch = 2, Length = 20;

    [Test]
    public void LossesAgreeStepByStep()
    {
        var config = new GlaConfig { VocabSize = 32, HiddenSize = 32, NumHiddenLayers = 2, NumHeads = 2, IntermediateSize = 48 };
        using var model = CausalLM.Create(Device, config);
        var parameters = model.NamedParameters().ToDictionary(p => p.Key, p => torch.tensor(p.Value.ToSingle()).reshape(Array.ConvertAll(p.Value.Shape.ToArray(), s => (long)s)).AsParameter());
        var options = new TrainerOptions
        {
            BatchSize = Batch, SequenceLength = Length, Schedule = new() { Kind = ScheduleKind.Cosine, Peak = 3e-3, Steps = Steps, WarmupSteps = 10 }, AdamW = new(0.9, 0.95, 1e-8, 0.1),
            MaxGradNorm = 1,
        };
        using var trainer = new Trainer(model, options);
        using var optimizer = torch.optim.AdamW(
        [
            Group(name => AdamW.IsDecayed(name, model.StateDict().First(p => p.Key == name).Value), 0.1),
            Group(name => !AdamW.IsDecayed(name, model.StateDict().First(p => p.Key == name).Value), 0),
        ], lr: 3e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8);

        var (mine, theirs) = (new float[Steps], new float[Steps]);
        for (var step = 0; step < Steps; step++)
        {
            using var scope = torch.NewDisposeScope();
            var tokens = Text(step);
            foreach (var group in optimizer.ParamGroups) group.LearningRate = options.Schedule.At(step);
            optimizer.zero_grad();
            var loss = GlaFormula.Loss(parameters.ToDictionary(p => p.Key, p => (Tensor)p.Value), config, torch.tensor(tokens).to(ScalarType.Int64).reshape(Batch, Length));
            loss.backward();
            nn.utils.clip_grad_norm_(parameters.Values, options.MaxGradNorm);
            optimizer.step();
            theirs[step] = loss.item<float>();
            trainer.RunStep(tokens);
            mine[step] = (float)trainer.Collect()[^1].Loss;
        }
        TestContext.Out.WriteLine($"losses {theirs[0]:0.000} to {theirs[^1]:0.000}; error ratio {ErrorRatio.Of(mine.AsSpan(0, 50), theirs.AsSpan(0, 50)):E1} over 50 steps, {ErrorRatio.Of(mine, theirs):E1} over {Steps}");
        Assert.That(theirs[^20..].Average(), Is.LessThan(theirs[..10].Average() / 2), "the model learns");
        ErrorRatio.AssertClose(mine.AsSpan(0, 50), theirs.AsSpan(0, 50), 1e-4, "losses of 50 steps");
        ErrorRatio.AssertClose(mine, theirs, 1e-3, $"losses of {Steps} steps");

        TorchAdamW.ParamGroup Group(Func<string, bool> isIn, double decay) =>
            new([.. parameters.Where(p => isIn(p.Key)).Select(p => p.Value)], lr: 3e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: decay);
    }

    /// <summary>A language with something to learn: each token follows from the one before, and from where the window began.</summary>
    private static int[] Text(int step)
    {
        var tokens = new int[Batch * Length];
        for (var row = 0; row < Batch; row++)
        {
            var token = (step * 5 + row * 11) % 32;
            for (var t = 0; t < Length; t++) tokens[row * Length + t] = token = (token * 5 + 3) % 32;
        }
        return tokens;
    }
}
