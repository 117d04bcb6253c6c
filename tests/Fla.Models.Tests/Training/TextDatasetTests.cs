using Fla.Models.Training;
using NUnit.Framework;

namespace Fla.Models.Tests.Training;

public sealed class TextDatasetTests
{
    private static int[] Text(int count) => Enumerable.Range(0, count).ToArray();

    [Test]
    public void SampleIsAFunctionOfSeedAndNumber()
    {
        var forwards = new TextDataset(Text(1003), 10, seed: 7);
        var again = new TextDataset(Text(1003), 10, seed: 7);
        var samples = Enumerable.Range(0, 350).Select(i => forwards.Sample(i).ToArray()).ToArray();
        for (var i = 349; i >= 0; i -= 3) Assert.That(again.Sample(i).ToArray(), Is.EqualTo(samples[i]), $"sample {i}");
    }

    [Test]
    public void SeedsDiffer()
    {
        var a = new TextDataset(Text(1003), 10, seed: 1);
        var b = new TextDataset(Text(1003), 10, seed: 2);
        Assert.That(Enumerable.Range(0, 20).Count(i => a.Sample(i).SequenceEqual(b.Sample(i))), Is.LessThan(5));
    }

    [Test]
    public void EpochVisitsEveryWindowOnceAndShufflesAfresh()
    {
        var data = new TextDataset(Text(1003), 10);
        int[] Starts(int epoch) => Enumerable.Range(0, data.WindowsPerEpoch).Select(i => data.Sample(epoch * data.WindowsPerEpoch + i)[0]).ToArray();
        var (first, second) = (Starts(0), Starts(1));
        Assert.That(first, Is.Unique);
        Assert.That(first.Select(s => s % 10).Distinct().Count(), Is.EqualTo(1), "windows do not overlap");
        Assert.That(second, Is.Not.EqualTo(first));
        Assert.That(first, Is.Not.Ordered);
    }

    [Test]
    public void WindowsAreConsecutiveTokens()
    {
        var data = new TextDataset(Text(64), 16);
        for (var i = 0; i < 20; i++)
        {
            var sample = data.Sample(i).ToArray();
            Assert.That(sample, Is.EqualTo(Enumerable.Range(sample[0], 16)));
        }
    }

    [TestCase(8)]
    [TestCase(9)]
    [TestCase(15)]
    [TestCase(16)]
    public void TextOfOneWindowIsEnough(int count)
    {
        var data = new TextDataset(Text(count), 8);
        Assert.That(data.WindowsPerEpoch, Is.EqualTo(1));
        for (var i = 0; i < 50; i++) Assert.That(data.Sample(i).Length, Is.EqualTo(8));
    }

    [Test]
    public void FillPutsSamplesInRows()
    {
        var data = new TextDataset(Text(500), 8);
        var batch = new int[24];
        data.Fill(5, batch);
        Assert.That(batch[8..16], Is.EqualTo(data.Sample(6).ToArray()));
        Assert.That(() => data.Fill(0, new int[23]), Throws.TypeOf<TrainingException>());
    }

    [Test]
    public void TooLittleTextIsRefused()
    {
        Assert.That(() => new TextDataset(Text(7), 8), Throws.TypeOf<TrainingException>().With.Message.Contains("7 tokens"));
        Assert.That(() => new TextDataset(Text(7), 1), Throws.TypeOf<TrainingException>());
        Assert.That(() => TextDataset.Split(Text(15), 8, 0.1), Throws.TypeOf<TrainingException>());
    }

    [Test]
    public void SplitKeepsEveryTokenOnce()
    {
        var (train, heldOut) = TextDataset.Split(Text(1007), 32, 0.1, seed: 3);
        Assert.That(heldOut, Has.Length.EqualTo(3 * 32).Within(7));
        Assert.That(train.Concat(heldOut).Order().ToArray()[..992], Is.EqualTo(Text(992)));
        Assert.That(train.Intersect(heldOut), Is.Empty);
        Assert.That(TextDataset.Split(Text(1007), 32, 0.1, seed: 3).HeldOut, Is.EqualTo(heldOut));
        Assert.That(TextDataset.Split(Text(1007), 32, 0.1, seed: 4).HeldOut, Is.Not.EqualTo(heldOut));
    }

    [Test]
    public void InOrderCoversTheText()
    {
        var data = new TextDataset(Text(35), 8);
        Assert.That(data.InOrder().SelectMany(w => w.ToArray()), Is.EqualTo(Text(32)));
        Assert.That(data.InOrder(2).Select(w => w.Span[0]), Is.EqualTo(new[] { 0, 16 }));
    }
}
