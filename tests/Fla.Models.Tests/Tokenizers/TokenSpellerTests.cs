using NUnit.Framework;

namespace Fla.Models.Tests.Tokenizers;

public sealed class TokenSpellerTests
{
    [Test]
    public void ARunOfByteTokensIsTextAsAWholeOrNotAtAll()
    {
        var tokenizer = SmallTokenizers.Parse(SmallTokenizers.Sentence());
        Assert.That(tokenizer.Decode([264, 3 + 0xC3, 3 + 0xA9, 264]), Is.EqualTo("abé ab"));
        Assert.That(tokenizer.Decode([264, 3 + 0xC3, 3 + 0xA9, 3 + 0xC3, 264]), Is.EqualTo("ab\uFFFD\uFFFD\uFFFD ab"));
    }

    [Test]
    public void MetaspaceDropsTheMarksOfTheFirstToken()
    {
        var json = SmallTokenizers.Metaspace("first", false);
        json["decoder"] = SmallTokenizers.Node("""{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":false}""");
        Assert.That(SmallTokenizers.Parse(json).Decode([1, 264, 264]), Is.EqualTo("ab ab"));
        json["decoder"]!["prepend_scheme"] = "never";
        Assert.That(SmallTokenizers.Parse(json).Decode([1, 264, 264]), Is.EqualTo(" ab ab"));
    }
}
