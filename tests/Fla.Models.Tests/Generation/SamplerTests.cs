using Fla.Models.Generation;
using NUnit.Framework;

namespace Fla.Models.Tests.Generation;

public sealed class SamplerTests
{
    private static readonly float[] Logits = [0.5f, 2.5f, -1f, 2.0f, 0.1f];

    [Test]
    public void GreedyTakesTheFirstOfTheLargest()
    {
        Assert.That(Choose(new()), Is.EqualTo(1));
        Assert.That(new Sampler(new(), 0, []).Next([1, 3, 3, 2]), Is.EqualTo(1));
    }

    [Test]
    public void DrawsFollowTheSoftmax([Values(0.5, 1.0, 2.0)] double temperature)
    {
        var counts = Count(new() { DoSample = true, Temperature = temperature, Seed = 7 });
        var weights = Logits.Select(x => Math.Exp(x / temperature)).ToArray();
        for (var i = 0; i < Logits.Length; i++) Assert.That(counts[i] / 20000.0, Is.EqualTo(weights[i] / weights.Sum()).Within(0.015), $"token {i}");
    }

    [Test]
    public void TopKKeepsTheLikeliest()
    {
        var counts = Count(new() { DoSample = true, TopK = 2 });
        Assert.That(counts.Select(c => c > 0), Is.EqualTo(new[] { false, true, false, true, false }));
    }

    [Test]
    public void TopPKeepsTheFewestThatReachIt()
    {
        var weights = Logits.Select(x => Math.Exp(x)).ToArray();
        var first = weights[1] / weights.Sum();
        Assert.That(Count(new() { DoSample = true, TopP = first - 0.01 }).Select(c => c > 0), Is.EqualTo(new[] { false, true, false, false, false }));
        Assert.That(Count(new() { DoSample = true, TopP = first + 0.01 }).Select(c => c > 0), Is.EqualTo(new[] { false, true, false, true, false }));
    }

    [Test]
    public void RepetitionPenaltyPushesSeenTokensDown()
    {
        var options = new GenerationOptions { RepetitionPenalty = 1.5 };
        Assert.That(new Sampler(options, 0, [1]).Next([.. Logits]), Is.EqualTo(3), "2.5 / 1.5 is below 2.0");
        Assert.That(new Sampler(options, 0, [0]).Next([-1f, -1.2f]), Is.EqualTo(1), "-1 · 1.5 is below -1.2");
        var sampler = new Sampler(options, 0, []);
        Assert.That(sampler.Next([.. Logits]), Is.EqualTo(1));
        Assert.That(sampler.Next([.. Logits]), Is.EqualTo(3), "what was chosen counts as seen");
    }

    [Test]
    public void DrawsDependOnSeedAndRow()
    {
        var first = Draws(1, 0);
        Assert.That(Draws(1, 0), Is.EqualTo(first));
        Assert.That(first, Is.Not.EqualTo(Draws(2, 0)));
        Assert.That(first, Is.Not.EqualTo(Draws(1, 1)));

        static int[] Draws(ulong seed, int row)
        {
            var sampler = new Sampler(new() { DoSample = true, Seed = seed }, row, []);
            return [.. Enumerable.Range(0, 64).Select(_ => sampler.Next([.. Logits]))];
        }
    }

    [Test]
    public void NumbersThatAreNoneAreRefused() => Assert.That(() => new Sampler(new(), 0, []).Next([1, float.NaN]), Throws.TypeOf<GenerationException>());

    [Test]
    public void TheDeviceChoosesOnlyPlainMaxima()
    {
        Assert.That(Sampler.IsArgMax(new()));
        Assert.That(Sampler.IsArgMax(new() { DoSample = true }), Is.False);
        Assert.That(Sampler.IsArgMax(new() { RepetitionPenalty = 1.1 }), Is.False);
    }

    private static int Choose(GenerationOptions options) => new Sampler(options, 0, []).Next([.. Logits]);

    private static int[] Count(GenerationOptions options)
    {
        var sampler = new Sampler(options, 0, []);
        var counts = new int[Logits.Length];
        for (var i = 0; i < 20000; i++) counts[sampler.Next([.. Logits])]++;
        return counts;
    }
}
