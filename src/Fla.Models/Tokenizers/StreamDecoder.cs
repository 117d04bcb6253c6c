using System.Text;

namespace Fla.Models.Tokenizers;

/// <summary>
/// Decodes tokens one by one. A character whose bytes lie in several tokens appears with the last of them; what comes out, put together, is what
/// decoding all tokens at once gives for well-formed UTF-8.
/// </summary>
public sealed class StreamDecoder
{
    private readonly TextTokenizer _tokenizer;
    private readonly bool _skipSpecialTokens;
    private readonly Decoder _utf8 = Encoding.UTF8.GetDecoder();
    private bool _isFirst = true;

    internal StreamDecoder(TextTokenizer tokenizer, bool skipSpecialTokens)
    {
        _tokenizer = tokenizer;
        _skipSpecialTokens = skipSpecialTokens;
    }

    /// <summary>The characters that this token completes; often a whole word, sometimes nothing.</summary>
    public string Push(int id)
    {
        if (!_tokenizer.TryDecode(id, _isFirst, _skipSpecialTokens, out var bytes))
        {
            return "";
        }

        _isFirst = false;
        return Decode(bytes, flush: false);
    }

    /// <summary>Ends the text: an unfinished character becomes U+FFFD.</summary>
    public string Finish() => Decode([], flush: true);

    private string Decode(ReadOnlySpan<byte> bytes, bool flush)
    {
        var chars = new char[Encoding.UTF8.GetMaxCharCount(bytes.Length + 3)];
        return new string(chars, 0, _utf8.GetChars(bytes, chars, flush));
    }
}
