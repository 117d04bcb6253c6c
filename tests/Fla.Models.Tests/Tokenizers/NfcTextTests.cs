using Fla.Models.Tokenizers;
using NUnit.Framework;

namespace Fla.Models.Tests.Tokenizers;

public sealed class NfcTextTests
{
    [TestCase("plain, été, Ελλην, привет, 漢字, かな, 한글, 😀")]
    public void TextThatIsItsOwnNormalFormPasses(string text) => Assert.That(NfcText.Normalize(text), Is.EqualTo(text));

    [Test]
    public void ACombiningMarkIsComposedOrRefused()
    {
        try
        {
            Assert.That(NfcText.Normalize("e\u0301"), Is.EqualTo("é"));
        }
        catch (TokenizerException error)
        {
            Assert.That("e\u0301".Normalize(), Has.Length.EqualTo(2), "only a process without Unicode data may refuse");
            Assert.That(error.Message, Does.Contain("U+0301"));
        }
    }
}
