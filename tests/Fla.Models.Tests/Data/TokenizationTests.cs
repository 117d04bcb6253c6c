using Fla.Models.Data;
using Fla.Models.Tests.Tokenizers;
using Fla.Models.Tokenizers;
using NUnit.Framework;

namespace Fla.Models.Tests.Data;

public sealed class TokenizationTests : DataFolder
{
    [Test]
    public void DocumentsBeginAndEnd()
    {
        var bytes = new ByteTokenizer();
        Assert.That(new Tokenization(bytes).Encode(new("ab")), Is.EqualTo(new[] { 256, 97, 98, 257 }));
        Assert.That(new Tokenization(bytes, endsDocuments: false).Encode(new("ab")), Is.EqualTo(bytes.Encode("ab")));
        Assert.That(new Tokenization(bytes).Encode(new("ab", IsLast: false)), Is.EqualTo(new[] { 256, 97, 98 }));
        Assert.That(new Tokenization(bytes).Encode(new("ab", IsFirst: false)), Is.EqualTo(new[] { 97, 98, 257 }));
        Write("t/tokenizer.json", SmallTokenizers.Sentence().ToJsonString());
        Assert.That(new Tokenization(TextTokenizer.Load(In("t")), endsDocuments: false).Encode(new("ab")), Is.EqualTo(new[] { 1, 264 }));
    }

    [Test]
    public void FileHoldsWhatMemoryWould()
    {
        // Several batches of work for several threads.
        var parts = Enumerable.Range(0, 400).Select(i => new TextPart(new string((char)('a' + i % 26), 1 + i * 37 % 2500), IsFirst: i % 3 == 0, IsLast: i % 3 == 2)).ToList();
        var tokenization = new Tokenization(new ByteTokenizer());
        var told = new List<long>();
        using (var writer = new TokenFileWriter(In("a.bin"), 259))
        {
            tokenization.Write(parts, writer, told.Add);
            writer.Finish();
        }
        using var file = TokenFile.Open(In("a.bin"));
        var documents = parts.Chunk(3).Select(document => document.SelectMany(tokenization.Encode).ToArray());
        Assert.That(file.Documents().Select(document => document.ToArray()), Is.EqualTo(documents));
        Assert.That(told, Is.Ordered.And.Count.GreaterThan(2));
        Assert.That(told[^1], Is.EqualTo(file.Count));
    }

    [Test]
    public void TextIsReadNoFurtherThanIsNeeded()
    {
        using var cancel = new CancellationTokenSource();
        var read = 0;
        using var writer = new TokenFileWriter(In("a.bin"), 259);
        Assert.That(() => new Tokenization(new ByteTokenizer()).Write(Endless(), writer, _ => cancel.Cancel(), cancel.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(read, Is.LessThan(100 * Environment.ProcessorCount));

        IEnumerable<TextPart> Endless()
        {
            while (true)
            {
                read++;
                yield return new(new string('x', 1 << 15));
            }
        }
    }
}
