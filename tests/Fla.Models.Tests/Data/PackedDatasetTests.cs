using Fla.Models.Data;
using Fla.Models.Training;
using NUnit.Framework;

namespace Fla.Models.Tests.Data;

public sealed class PackedDatasetTests : DataFolder
{
    private static readonly int[] Lengths = [5, 1, 40, 17, 3, 90, 8, 8, 2, 11];

    [Test]
    public void SampleIsAFunctionOfSeedAndNumber()
    {
        using var corpus = new TokenCorpus([Numbered("a.bin", Lengths)]);
        var forwards = new PackedDataset(corpus, corpus.All(), 16, 24, seed: 7);
        var samples = Enumerable.Range(0, 60).Select(i => forwards.Sample(i)).ToList();
        var again = new PackedDataset(corpus, corpus.All(), 16, 24, seed: 7);
        for (var i = 59; i >= 0; i -= 7) Same(again.Sample(i), samples[i]);
        for (var i = 30; i < 40; i++) Same(again.Sample(i), samples[i]);
        var other = new PackedDataset(corpus, corpus.All(), 16, 24, seed: 8);
        Assert.That(Enumerable.Range(0, 60).Count(i => other.Sample(i).Tokens.SequenceEqual(samples[i].Tokens)), Is.LessThan(3));
    }

    [Test]
    public void EpochHasEveryTokenInAnOrderOfItsOwn()
    {
        using var corpus = new TokenCorpus([Numbered("a.bin", Lengths.AsSpan(0, 4)), Numbered("b.bin"), Numbered("c.bin", Lengths.AsSpan(4))]);
        Assert.That((corpus.Count, corpus.Documents), Is.EqualTo((Lengths.Sum(), Lengths.Length)));
        var data = new PackedDataset(corpus, corpus.All(), 16, 37, seed: 1);
        Assert.That(data.TokensPerEpoch, Is.InRange(Lengths.Sum(), Lengths.Sum() + 15));
        var stream = Enumerable.Range(0, 30).SelectMany(i => data.Sample(i).Tokens).ToArray();
        var wanted = Lengths.SelectMany((length, d) => Enumerable.Range(1000 * (d < 4 ? d : d - 4), length)).ToList();
        var epochs = stream.Chunk((int)data.TokensPerEpoch).Take(4).ToList();
        foreach (var epoch in epochs)
        {
            var rest = epoch.ToList();
            foreach (var token in wanted) Assert.That(rest.Remove(token), $"token {token}");
        }
        Assert.That(epochs[1], Is.Not.EqualTo(epochs[0]));
    }

    [Test]
    public void LongTextComesInWholeSequences([Values(1, 3)] int rows)
    {
        using var corpus = new TokenCorpus([Numbered("a.bin", 990), Numbered("b.bin", 500)]);
        var data = new PackedDataset(corpus, corpus.All(), 16, 16 * rows, seed: 4);
        var lengths = Enumerable.Range(0, 300).SelectMany(i => data.Sample(i).Boundaries.Zip(data.Sample(i).Boundaries.Skip(1), (from, to) => to - from)).Where(length => length > 0).ToList();
        // Of 94 sequences in an epoch, only what is left before and behind each document's cuts is shorter.
        Assert.That(lengths.Count(length => length == 16), Is.GreaterThan(0.9 * 300 * rows));
    }

    [Test]
    public void SequencesAreOfOneDocumentAndNoLongerThanWanted()
    {
        using var corpus = new TokenCorpus([Numbered("a.bin", Lengths)]);
        var data = new PackedDataset(corpus, corpus.All(), 16, 50, seed: 3);
        var starts = new HashSet<int>();
        for (var i = 0; i < 40; i++)
        {
            var batch = data.Sample(i);
            Assert.That(batch.Ignored, Is.Zero);
            Assert.That(batch.Boundaries, Has.Length.EqualTo(data.MaxSequences + 1));
            Assert.That((batch.Boundaries[0], batch.Boundaries[^1]), Is.EqualTo((0, 50)));
            for (var n = 0; n < data.MaxSequences; n++)
            {
                var sequence = batch.Tokens[batch.Boundaries[n]..batch.Boundaries[n + 1]];
                if (sequence.Length == 0) continue;
                Assert.That(sequence, Is.EqualTo(Enumerable.Range(sequence[0], sequence.Length)), "consecutive tokens of one document");
                Assert.That(sequence, Has.Length.LessThanOrEqualTo(16));
                if (sequence[0] / 1000 == 5) starts.Add(sequence[0] % 1000);
            }
        }
        Assert.That(starts, Has.Count.GreaterThan(16), "a long document is cut at other places in other epochs");
    }

    [Test]
    public void RowWithoutRoomIgnoresTheRest()
    {
        // One row in 61 has only documents of one token: more than the average and six deviations leave room for.
        using var corpus = new TokenCorpus([Numbered("a.bin", [.. Enumerable.Repeat(400, 60), .. Enumerable.Repeat(1, 60)])]);
        var data = new PackedDataset(corpus, corpus.All(), 400, 400, seed: 0);
        var full = Enumerable.Range(0, 61).Single(i => data.Sample(i).Ignored > 0);
        var batch = data.Sample(full);
        Assert.That(batch.Labels().TakeLast(batch.Ignored), Is.All.EqualTo(-100));
        Assert.That(batch.Boundaries[^2], Is.EqualTo(400 - batch.Ignored), "a sequence of its own");
        Assert.That(batch.Boundaries.Take(data.MaxSequences), Is.EqualTo(Enumerable.Range(0, data.MaxSequences)));
        Same(new PackedDataset(corpus, corpus.All(), 400, 400, seed: 0).Sample(full + 1), data.Sample(full + 1));
    }

    [Test]
    public void TextSmallerThanARowIsRepeated()
    {
        using var corpus = new TokenCorpus([Numbered("a.bin", 3, 2)]);
        var data = new PackedDataset(corpus, corpus.All(), 8, 64, seed: 0);
        Assert.That(data.Sample(0).Tokens.Take(5).Order(), Is.EqualTo(new[] { 0, 1, 2, 1000, 1001 }));
        Assert.That(data.Sample(0).Ignored, Is.Zero);
    }

    [Test]
    public void NothingToLearnIsATypedError()
    {
        using var corpus = new TokenCorpus([Numbered("a.bin", 1, 1, 1)]);
        Assert.That(() => new PackedDataset(corpus, corpus.All(), 8, 64, seed: 0), Throws.TypeOf<DatasetException>());
        using var nothing = new TokenCorpus([Numbered("b.bin")]);
        Assert.That(() => new PackedDataset(nothing, nothing.All(), 8, 64, seed: 0), Throws.TypeOf<DatasetException>());
    }

    [Test]
    public void SplitKeepsEveryTokenOnceAndShortDocumentsWhole()
    {
        using var corpus = new TokenCorpus([Numbered("a.bin", Lengths)]);
        var (train, heldOut) = corpus.All().Split(16, 0.3, seed: 2);
        Assert.That(train.Tokens + heldOut.Tokens, Is.EqualTo(corpus.Count));
        Assert.That(Tokens(train).Concat(Tokens(heldOut)).Order(), Is.EqualTo(Enumerable.Range(0, (int)corpus.Count)));
        Assert.That(heldOut.Count, Is.InRange(3, 6));
        var ends = corpus.Files[0].Ends.ToArray();
        var starts = ends.Prepend(0L).SkipLast(1).ToArray();
        foreach (var spans in new[] { train, heldOut })
        {
            for (var i = 0; i < spans.Count; i++)
            {
                var (start, length) = spans[i];
                var document = Array.FindLastIndex(starts, s => s <= start);
                Assert.That(start + length, Is.LessThanOrEqualTo(ends[document]));
                if (Lengths[document] < 32) Assert.That((start, length), Is.EqualTo((starts[document], (long)Lengths[document])));
            }
        }
        Assert.That(Tokens(corpus.All().Split(16, 0.3, seed: 2).HeldOut), Is.EqualTo(Tokens(heldOut)));
        Assert.That(Enumerable.Range(3, 5).Any(seed => !Tokens(corpus.All().Split(16, 0.3, seed).HeldOut).SequenceEqual(Tokens(heldOut))));
        using var one = new TokenCorpus([Numbered("b.bin", 30)]);
        Assert.That(() => one.All().Split(16, 0.1, seed: 0), Throws.TypeOf<DatasetException>());

        static IEnumerable<int> Tokens(TokenSpans spans) =>
            Enumerable.Range(0, spans.Count).SelectMany(i => Enumerable.Range((int)spans[i].Start, (int)spans[i].Length));
    }

    [Test]
    public void BatchesComeInOrderFromAnyNumberOn()
    {
        using var corpus = new TokenCorpus([Numbered("a.bin", Lengths)]);
        var data = new PackedDataset(corpus, corpus.All(), 16, 24, seed: 7);
        using var batches = new PackedBatches(new(corpus, corpus.All(), 16, 24, seed: 7), first: 11, ahead: 2);
        for (var i = 11; i < 31; i += 2)
        {
            var next = batches.Take(2);
            Same(next[0], data.Sample(i));
            Same(next[1], data.Sample(i + 1));
        }
    }

    [Test]
    public void ErrorOfTheThreadReachesWhoeverTakes()
    {
        using var corpus = new TokenCorpus([Numbered("a.bin", 50, 50)]);
        var data = new PackedDataset(corpus, corpus.All(), 16, 24, seed: 7);
        using (var stream = File.Open(In("a.bin"), FileMode.Open, FileAccess.Write, FileShare.ReadWrite)) stream.SetLength(20);
        using var batches = new PackedBatches(data, first: 0);
        Assert.That(() => batches.Take(10), Throws.TypeOf<DatasetException>().With.Message.Contains("cut off"));
    }

    private static void Same(PackedBatch batch, PackedBatch wanted)
    {
        Assert.That(batch.Tokens, Is.EqualTo(wanted.Tokens));
        Assert.That(batch.Boundaries, Is.EqualTo(wanted.Boundaries));
        Assert.That(batch.Ignored, Is.EqualTo(wanted.Ignored));
    }
}
