using Fla.Models.Tokenizers;
using Fla.Testing;
using NUnit.Framework;

namespace Fla.Models.Tests.Tokenizers;

public sealed class TextTokenizerTests
{
    [Test]
    public void AFolderWithoutATokenizerHasBytes()
    {
        using var folder = new TemporaryFolder();
        Assert.That(TextTokenizer.Load(folder.Location), Is.TypeOf<ByteTokenizer>());
    }

    [TestCase("tokenizer.model")]
    [TestCase("vocab.json")]
    public void AnotherFormatIsRefusedByName(string name)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.File(name), "");
        Assert.That(() => TextTokenizer.Load(folder.Location), Throws.TypeOf<TokenizerException>().With.Message.Contains(name));
    }

    [Test]
    public void TheConfigBesideNamesTheSpecialTokens()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder.File("tokenizer.json"), SmallTokenizers.Bytes(SmallTokenizers.Sentence()));
        File.WriteAllText(folder.File("tokenizer_config.json"), """{"bos_token":"<s>","eos_token":{"content":"</s>","lstrip":false},"pad_token":null,"tokenizer_class":"LlamaTokenizer","add_bos_token":true}""");
        var tokenizer = TextTokenizer.Load(folder.Location);
        Assert.That((tokenizer.BosId, tokenizer.EosId, tokenizer.PadId), Is.EqualTo(((int?)1, (int?)2, (int?)null)));

        File.WriteAllText(folder.File("tokenizer_config.json"), """{"tokenizer_class":"LlamaTokenizer","add_bos_token":false}""");
        var error = Assert.Throws<TokenizerException>(() => TextTokenizer.Load(folder.Location))!;
        Assert.That((error.Component, error.File), Is.EqualTo(("add_bos_token", folder.File("tokenizer.json"))));
    }

    [Test]
    public void TheSavedByteTokenizerGivesTheSameIds()
    {
        using var folder = new TemporaryFolder();
        var bytes = new ByteTokenizer();
        bytes.Save(folder.Location);
        var loaded = TextTokenizer.Load(folder.Location);
        Assert.That((loaded.VocabSize, loaded.BosId, loaded.EosId, loaded.PadId), Is.EqualTo((259, (int?)256, (int?)257, (int?)258)));
        foreach (var text in (string[])["", "hello", "é 😀\n\0", "  two  "])
        {
            Assert.That(loaded.Encode(text), Is.EqualTo(bytes.Encode(text)));
            Assert.That(loaded.Encode(text, false), Is.EqualTo(bytes.Encode(text, false)));
            Assert.That(loaded.Decode(loaded.Encode(text)), Is.EqualTo(text));
        }

        Assert.That(loaded.Decode([256, 65, 257], skipSpecialTokens: false), Is.EqualTo(bytes.Decode([256, 65, 257], skipSpecialTokens: false)));
    }

    [Test]
    public void BytesAreTokens()
    {
        var tokenizer = new ByteTokenizer();
        Assert.Multiple(() =>
        {
            Assert.That(tokenizer.Encode("aé"), Is.EqualTo(new[] { 256, 97, 0xC3, 0xA9 }));
            Assert.That(tokenizer.Encode("\ud800", false), Is.EqualTo(new[] { 0xEF, 0xBF, 0xBD }));
            Assert.That(tokenizer.Decode([256, 97, 0xC3, 0xA9, 257]), Is.EqualTo("aé"));
            Assert.That(tokenizer.Decode([97, 0xC3, 98, 1000, -1]), Is.EqualTo("a\uFFFDb"));
        });
    }
}
