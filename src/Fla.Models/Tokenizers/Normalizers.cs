namespace Fla.Models.Tokenizers;

/// <summary>The normalizers of tokenizer.json that can be honoured exactly.</summary>
internal static class Normalizers
{
    /// <summary>A function for the <c>normalizer</c> of a file, or null when it changes nothing.</summary>
    /// <exception cref="TokenizerException">The component would not be honoured exactly.</exception>
    public static Func<string, string>? Read(TokenizerPart part)
    {
        if (part.IsNull)
        {
            return null;
        }

        switch (part.Type)
        {
            case "NFC":
                return NfcText.Normalize;
            case "Prepend":
                var prefix = part["prepend"].String();
                return text => text.Length == 0 ? text : prefix + text;
            case "Replace":
                var pattern = ReadPattern(part["pattern"]);
                var content = part["content"].String();
                return text => text.Replace(pattern, content, StringComparison.Ordinal);
            case "Sequence":
                Func<string, string>[] steps = [.. part["normalizers"].List().Select(Read).OfType<Func<string, string>>()];
                return steps.Length == 0 ? null : text => steps.Aggregate(text, (current, step) => step(current));
            default:
                throw part.Unsupported($"the normalizer {part.Type}");
        }
    }

    /// <summary>A literal pattern; regular expressions are refused.</summary>
    public static string ReadPattern(TokenizerPart pattern)
    {
        var text = pattern["String"].IsNull ? throw pattern.Unsupported("a pattern that is not a String") : pattern["String"].String();
        return text.Length > 0 ? text : throw pattern.Unsupported("an empty pattern");
    }
}
