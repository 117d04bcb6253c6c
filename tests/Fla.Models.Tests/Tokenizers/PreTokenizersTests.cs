using System.Text;
using Fla.Models.Tokenizers;
using NUnit.Framework;

namespace Fla.Models.Tests.Tokenizers;

public sealed class PreTokenizersTests
{
    private const string Gpt2 = """{"type":"ByteLevel","add_prefix_space":false,"use_regex":true}""";

    private const string Llama3 = """
        {"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
        "behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]}
        """;

    private const string Digits = """
        {"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"ByteLevel","add_prefix_space":false,"use_regex":true}]}
        """;

    private static readonly string Qwen2 = Llama3.Replace(@"\\p{N}{1,3}", @"\\p{N}");

    [TestCase(Gpt2, "I'll go  to 2024!\n", "I|'ll| go| | to| 2024|!|\n")]
    [TestCase(Gpt2, "I'LL a\n\n b", "I|'|LL| a|\n\n| b")]
    [TestCase(Gpt2, "été 漢字x", "été| 漢字x")]
    [TestCase(Gpt2, "a𝒜𠀀b 😀😀", "a𝒜𠀀b| 😀😀")]
    [TestCase(Gpt2, "x𝟏2", "x|𝟏2")]
    [TestCase(Gpt2, "end  ", "end|  ")]
    [TestCase(Llama3, "I'LL pay $12345  now\n\n x", "I|'LL| pay| $|123|45| | now|\n\n| x")]
    [TestCase(Llama3, "(foo) 'sx", "(foo|)| '|sx")]
    [TestCase(Llama3, "𝟏𝟐𝟑𝟒a", "𝟏𝟐𝟑|𝟒|a")]
    [TestCase(Llama3, "a!!\r\n\tb", "a|!!\r\n|\tb")]
    [TestCase(Digits, "ab 123x", "ab| |1|2|3|x")]
    public void TextIsCutAsThePatternSays(string json, string text, string expected) => AssertCut(json, text, expected);

    [Test]
    public void Qwen2CutsEveryDigit() => AssertCut(Qwen2, "a 12", "a| |1|2");

    private static void AssertCut(string json, string text, string expected)
    {
        var cut = PreTokenizers.Read(SmallTokenizers.Part(json))!([text], true);
        var words = cut.Select(word => Encoding.UTF8.GetString(ByteAlphabet.BytesOf(word)));
        Assert.That(string.Join('|', words), Is.EqualTo(expected));
    }
}
