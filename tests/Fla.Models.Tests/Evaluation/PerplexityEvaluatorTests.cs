using Fla.Models.Configs;
using Fla.Models.Evaluation;
using Fla.Models.Training;
using Fla.Testing;
using Fla.Vulkan;
using NUnit.Framework;

namespace Fla.Models.Tests.Evaluation;

public sealed class PerplexityEvaluatorTests(TestDevice device) : DeviceTests(device)
{
    private const int Vocabulary = 24;

    [Test]
    public void BucketsAreThoseOfTheLogits([Values("gla", "linear_attn")] string family, [Values(true, false)] bool isFused)
    {
        using var model = Model(family);
        var sequences = new[] { 20, 7, 20, 2, 13 }.Select((length, i) => (ReadOnlyMemory<int>)Tokens(length, i)).ToList();
        var (sums, counts) = (new double[3], new long[3]);
        foreach (var sequence in sequences)
        {
            var losses = Losses(model, sequence.Span);
            for (var i = 0; i < losses.Length; i++) (sums[i / 8], counts[i / 8]) = (sums[i / 8] + losses[i], counts[i / 8] + 1);
        }
        var result = new PerplexityEvaluator(model, new() { BlockSize = 20, BucketSize = 8, BatchSize = 2, IsFused = isFused }).Evaluate(sequences);
        Assert.That(result.Sequences, Is.EqualTo(5));
        Assert.That(result.Buckets.Select(b => (b.From, b.To, b.Tokens)), Is.EqualTo(new[] { (0, 8, counts[0]), (8, 16, counts[1]), (16, 20, counts[2]) }));
        for (var i = 0; i < 3; i++) Assert.That(result.Buckets[i].Loss, Is.EqualTo(sums[i] / counts[i]).Within(1e-5));
        Assert.That(result.Perplexity, Is.EqualTo(Math.Exp(sums.Sum() / counts.Sum())).Within(1e-4));
    }

    [Test]
    public void TrainerToldTheSame()
    {
        using var model = Model("gla");
        using var trainer = new Trainer(model, new() { BatchSize = 2, SequenceLength = 20, Schedule = new() { Steps = 1 } });
        var sequences = new[] { 20, 20, 9 }.Select((length, i) => (ReadOnlyMemory<int>)Tokens(length, i)).ToList();
        var loss = trainer.Evaluate(sequences);
        Assert.That(model.IsTraining);
        Assert.That(new PerplexityEvaluator(model, new() { BlockSize = 20, BatchSize = 2 }).Evaluate(sequences).Loss, Is.EqualTo(loss));
        Assert.That(new PerplexityEvaluator(model, new() { BlockSize = 50, BatchSize = 1 }).Evaluate(sequences).Loss, Is.EqualTo(loss).Within(1e-5));
    }

    [Test]
    public void BlocksRunOverDocumentsAndSequencesDoNot()
    {
        ReadOnlyMemory<int>[] documents = [new[] { 1, 2, 3 }, new[] { 4 }, new[] { 5, 6, 7, 8, 9, 10, 11 }];
        Assert.That(PerplexityEvaluator.Blocks(documents, 4).Select(b => b.ToArray()), Is.EqualTo(new int[][] { [1, 2, 3, 4], [5, 6, 7, 8] }));
        Assert.That(PerplexityEvaluator.Blocks(documents, 20).Select(b => b.ToArray()), Is.EqualTo(new[] { Enumerable.Range(1, 11).ToArray() }));
        Assert.That(PerplexityEvaluator.Sequences(documents, 3).Select(b => b.ToArray()), Is.EqualTo(new int[][] { [1, 2, 3], [5, 6, 7], [8, 9, 10] }));
    }

    [Test]
    public void WrongInputsAreTypedErrors()
    {
        using var model = Model("gla");
        var evaluator = new PerplexityEvaluator(model, new() { BlockSize = 8 });
        Assert.That(() => evaluator.Evaluate([new int[9]]), Throws.TypeOf<ShapeException>());
        Assert.That(() => evaluator.Evaluate([new int[1]]), Throws.TypeOf<ShapeException>());
        Assert.That(() => evaluator.Evaluate([new[] { 1, Vocabulary }]), Throws.TypeOf<TokenIdException>());
        Assert.That(() => new PerplexityEvaluator(model, new() { BucketSize = 0 }).Evaluate([]), Throws.TypeOf<ArgumentOutOfRangeException>());
        Assert.That(evaluator.Evaluate([]).Loss, Is.NaN);
        Assert.That(() => evaluator.Evaluate([new int[4]], cancellation: new(canceled: true)), Throws.InstanceOf<OperationCanceledException>());
    }

    private static int[] Tokens(int count, int seed) => [.. Enumerable.Range(0, count).Select(i => (i * 7 + i / 5 * seed + i * i % 11) % Vocabulary)];

    /// <summary>Loss of every token but the first, from logits on the host.</summary>
    private static double[] Losses(CausalLM model, ReadOnlySpan<int> tokens)
    {
        using var noGrad = Autograd.NoGrad();
        using var scope = model.Device.Scope();
        var logits = model.Forward(model.Tokens(tokens)).Logits!.ToSingle();
        var losses = new double[tokens.Length - 1];
        for (var i = 0; i < losses.Length; i++)
        {
            var row = logits.AsSpan(i * Vocabulary, Vocabulary);
            var sum = 0.0;
            foreach (var logit in row) sum += Math.Exp(logit);
            losses[i] = Math.Log(sum) - row[tokens[i + 1]];
        }
        return losses;
    }

    private CausalLM Model(string family) => CausalLM.Create(Device, family == "gla"
        ? new GlaConfig { VocabSize = Vocabulary, HiddenSize = 32, NumHiddenLayers = 2, NumHeads = 2, IntermediateSize = 64, UseShortConv = true, InitializerRange = 0.2 }
        : new LinearAttentionConfig { VocabSize = Vocabulary, HiddenSize = 32, NumHiddenLayers = 2, NumHeads = 2, IntermediateSize = 64, InitializerRange = 0.2 }, seed: 5);
}
