using System.Globalization;
using Fla.Models.Tokenizers;
using NUnit.Framework;

namespace Fla.Models.Tests.Tokenizers;

public sealed class UnicodeShadowTests
{
    [Test]
    public void EveryCodePointKeepsItsCategory()
    {
        for (var codePoint = 0x10000; codePoint <= 0x10FFFF; codePoint++)
        {
            var text = char.ConvertFromUtf32(codePoint);
            var shadow = UnicodeShadow.Of(text).Text;
            if (shadow.Length != 1 || CharUnicodeInfo.GetUnicodeCategory(shadow[0]) != CharUnicodeInfo.GetUnicodeCategory(text, 0))
            {
                Assert.Fail($"U+{codePoint:X} became '{shadow}'");
            }
        }
    }

    [Test]
    public void PositionsMapBack()
    {
        var shadow = UnicodeShadow.Of("a😀b");
        Assert.That(shadow.Text, Has.Length.EqualTo(3));
        Assert.That(Enumerable.Range(0, 4).Select(shadow.Map), Is.EqualTo(new[] { 0, 1, 3, 4 }));
    }
}
