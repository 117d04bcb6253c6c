using System.Globalization;
using System.Text;

namespace Fla.Models.Tokenizers;

/// <summary>The <c>decoder</c> of tokenizer.json: the text that a token stands for.</summary>
internal sealed class TokenSpeller
{
    private readonly bool _byteLevel;
    private readonly bool _byteFallback;
    private readonly bool _stripsOneSpace;
    private readonly string? _dropAtStart;
    private readonly (string Pattern, string Content)[] _replacements = [];

    /// <summary>Reads and validates the component.</summary>
    /// <exception cref="TokenizerException">Malformed, or not honoured exactly.</exception>
    public TokenSpeller(TokenizerPart part)
    {
        switch (part.IsNull ? "null" : part.Type)
        {
            case "ByteLevel":
                _byteLevel = true;
                break;
            case "Metaspace":
                var mark = part["replacement"].String();
                _replacements = [(mark.Length == 1 ? mark : throw part["replacement"].Unsupported("a replacement that is not one character"), " ")];
                _dropAtStart = PreTokenizers.ReadPrependScheme(part) == "never" ? null : mark;
                break;
            case "Sequence":
                TokenizerPart[] steps = [.. part["decoders"].List()];
                string[] order = [.. steps.Select(step => step.Type)];
                _replacements = [.. steps.TakeWhile(step => step.Type == "Replace").Select(step => (Normalizers.ReadPattern(step["pattern"]), step["content"].String()))];
                string[] rest = order[_replacements.Length..];
                _byteFallback = rest is ["ByteFallback", ..];
                _stripsOneSpace = rest is [.., "Fuse", "Strip"];
                if (rest is not (["ByteFallback", "Fuse"] or ["ByteFallback", "Fuse", "Strip"] or ["Fuse"] or ["Fuse", "Strip"]))
                {
                    throw part.Unsupported($"the decoder sequence {string.Join(", ", order)}");
                }

                if (_stripsOneSpace && (steps[^1]["content"].String(), steps[^1]["start"].Int(), steps[^1]["stop"].Int()) != (" ", 1, 0))
                {
                    throw steps[^1].Unsupported("anything but one space at the start");
                }

                break;
            case var other:
                throw part.Unsupported($"the decoder {other}");
        }
    }

    /// <summary>Bytes of one token.</summary>
    public ReadOnlySpan<byte> BytesOf(string token, bool isFirst)
    {
        if (_byteLevel)
        {
            return ByteAlphabet.BytesOf(token);
        }

        if (isFirst && _dropAtStart is not null)
        {
            token = token.Replace(_dropAtStart, "", StringComparison.Ordinal);
        }

        token = Replace(token);
        ReadOnlySpan<byte> bytes = TryByte(token, out var value) ? [value] : Encoding.UTF8.GetBytes(token);
        return isFirst && _stripsOneSpace && bytes is [(byte)' ', ..] ? bytes[1..] : bytes;
    }

    /// <summary>Text of a row of tokens.</summary>
    public string Decode(IEnumerable<string> tokens)
    {
        if (!_byteFallback)
        {
            var bytes = new List<byte>();
            var isFirst = true;
            foreach (var token in tokens)
            {
                bytes.AddRange(BytesOf(token, isFirst));
                isFirst = false;
            }

            return Encoding.UTF8.GetString([.. bytes]);
        }

        var text = new StringBuilder();
        var run = new List<byte>();
        foreach (var token in tokens.Select(Replace))
        {
            if (TryByte(token, out var value))
            {
                run.Add(value);
                continue;
            }

            EndRun(run, text);
            text.Append(token);
        }

        EndRun(run, text);
        return _stripsOneSpace && text.Length > 0 && text[0] == ' ' ? text.ToString(1, text.Length - 1) : text.ToString();
    }

    private static void EndRun(List<byte> run, StringBuilder text)
    {
        // A run of byte tokens is text when the whole of it is, else one replacement character for each byte.
        byte[] bytes = [.. run];
        text.Append(System.Text.Unicode.Utf8.IsValid(bytes) ? Encoding.UTF8.GetString(bytes) : new string('\uFFFD', bytes.Length));
        run.Clear();
    }

    private string Replace(string token)
    {
        foreach (var (pattern, content) in _replacements)
        {
            token = token.Replace(pattern, content, StringComparison.Ordinal);
        }

        return token;
    }

    private bool TryByte(string token, out byte value)
    {
        value = 0;
        return _byteFallback
            && token is ['<', '0', 'x', _, _, '>']
            && byte.TryParse(token.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
    }
}
