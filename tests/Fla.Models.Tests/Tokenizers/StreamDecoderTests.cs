using Fla.Models.Tokenizers;
using NUnit.Framework;

namespace Fla.Models.Tests.Tokenizers;

public sealed class StreamDecoderTests
{
    [Test]
    public void ACharacterComesWithItsLastByte()
    {
        var stream = new ByteTokenizer().CreateStreamDecoder();
        string[] parts = [.. ((int[])[256, 97, 0xF0, 0x9F, 0x98, 0x80, 98]).Select(stream.Push)];
        Assert.That(parts, Is.EqualTo(new[] { "", "a", "", "", "", "😀", "b" }));
        Assert.That(stream.Finish(), Is.Empty);
    }

    [Test]
    public void AnUnfinishedOrBrokenCharacterIsReplaced()
    {
        var stream = new ByteTokenizer().CreateStreamDecoder();
        Assert.That(stream.Push(0xE2) + stream.Push(0x82) + stream.Push(97), Is.EqualTo("\uFFFDa"));
        stream.Push(0xC3);
        Assert.That(stream.Finish(), Is.EqualTo("\uFFFD"));
    }

    [Test]
    public void OnlyTheFirstTokenLosesItsSpace()
    {
        var stream = SmallTokenizers.Parse(SmallTokenizers.Sentence()).CreateStreamDecoder();
        string[] parts = [.. ((int[])[1, 264, 264, 3 + 0xC3, 3 + 0xA9, 2]).Select(stream.Push)];
        Assert.That(parts, Is.EqualTo(new[] { "", "ab", " ab", "", "é", "" }));
    }

    [Test]
    public void SpecialTokensAreShownOnRequest()
    {
        var tokenizer = SmallTokenizers.Parse(SmallTokenizers.ByteLevel());
        Assert.That(tokenizer.CreateStreamDecoder().Push(261), Is.Empty);
        Assert.That(tokenizer.CreateStreamDecoder(skipSpecialTokens: false).Push(261), Is.EqualTo("<|end|>"));
    }
}
