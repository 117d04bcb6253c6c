using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Fla.Models.Tokenizers;

/// <summary>Cuts pieces of text into smaller ones, between which no token reaches.</summary>
/// <param name="pieces">The pieces so far.</param>
/// <param name="atStart">Whether the first piece begins the text.</param>
internal delegate List<string> PreTokenize(List<string> pieces, bool atStart);

/// <summary>The pre-tokenizers of tokenizer.json that can be honoured exactly.</summary>
internal static partial class PreTokenizers
{
    private const string ContractionsAnyCase = "'(?:[sS\u017F]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])";

    // Patterns are recognised by their text, each with a .NET expression that matches the same: the two dialects differ in case folding.
    private static readonly Dictionary<string, Regex> Patterns = new()
    {
        [@"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"] = Gpt2(),
        [@"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"] = Llama3(),
        [@"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"] = Qwen2(),
    };

    /// <summary>A function for the <c>pre_tokenizer</c> of a file, or null when it cuts nothing.</summary>
    /// <exception cref="TokenizerException">The component would not be honoured exactly.</exception>
    public static PreTokenize? Read(TokenizerPart part)
    {
        if (part.IsNull)
        {
            return null;
        }

        switch (part.Type)
        {
            case "ByteLevel":
                return ReadByteLevel(part);
            case "Split":
                return ReadSplit(part);
            case "Digits":
                var individual = part["individual_digits"].Bool(absent: false);
                return (pieces, _) => [.. pieces.SelectMany(piece => CutDigits(piece, individual))];
            case "Metaspace":
                return ReadMetaspace(part);
            case "Sequence":
                PreTokenize[] steps = [.. part["pretokenizers"].List().Select(Read).OfType<PreTokenize>()];
                return steps.Length == 0 ? null : (pieces, atStart) => steps.Aggregate(pieces, (current, step) => step(current, atStart));
            default:
                throw part.Unsupported($"the pre-tokenizer {part.Type}");
        }
    }

    private static PreTokenize ReadByteLevel(TokenizerPart part)
    {
        var addPrefixSpace = part["add_prefix_space"].Bool(absent: true);
        var useRegex = part["use_regex"].Bool(absent: true);
        return (pieces, _) =>
        {
            var result = new List<string>();
            foreach (var piece in pieces)
            {
                var text = addPrefixSpace && !piece.StartsWith(' ') ? " " + piece : piece;
                result.AddRange(useRegex ? Cut(text, Gpt2()) : [text]);
            }

            return [.. result.Select(ByteAlphabet.Spell)];
        };
    }

    private static PreTokenize ReadSplit(TokenizerPart part)
    {
        var behavior = part["behavior"].String();
        var invert = part["invert"].Bool(absent: false);

        // Every pattern of the table matches every text without gaps, so that isolating matches and removing what lies between is the same.
        if ((behavior, invert) is not (("Isolated", false) or ("Removed", true)))
        {
            throw part["behavior"].Unsupported($"{behavior}{(invert ? ", inverted," : "")}");
        }

        var pattern = part["pattern"]["Regex"].IsNull ? throw part["pattern"].Unsupported("a pattern that is not a Regex") : part["pattern"]["Regex"].String();
        return Patterns.TryGetValue(pattern, out var regex)
            ? (pieces, _) => [.. pieces.SelectMany(piece => Cut(piece, regex))]
            : throw part["pattern"].Unsupported($"the expression {pattern}");
    }

    private static PreTokenize ReadMetaspace(TokenizerPart part)
    {
        var replacement = part["replacement"].String();
        if (replacement.Length != 1)
        {
            throw part["replacement"].Unsupported("a replacement that is not one character");
        }

        var mark = replacement[0];
        var scheme = ReadPrependScheme(part);
        var split = part["split"].Bool(absent: true);
        return (pieces, atStart) =>
        {
            var result = new List<string>();
            for (var i = 0; i < pieces.Count; i++)
            {
                var text = pieces[i].Replace(' ', mark);
                var prepend = scheme == "always" || (scheme == "first" && atStart && i == 0);
                text = prepend && !text.StartsWith(mark) ? mark + text : text;
                result.AddRange(split ? CutBefore(text, mark) : [text]);
            }

            return result;
        };
    }

    /// <summary>When a Metaspace component puts its mark in front: always, first or never.</summary>
    internal static string ReadPrependScheme(TokenizerPart part)
    {
        if (part["prepend_scheme"].IsNull)
        {
            return part["add_prefix_space"].Bool(absent: true) ? "always" : "never";
        }

        var scheme = part["prepend_scheme"].String();
        return scheme is "always" or "first" or "never" ? scheme : throw part["prepend_scheme"].Unsupported($"'{scheme}'");
    }

    private static List<string> Cut(string text, Regex regex)
    {
        var cuts = new List<string>();
        var shadow = UnicodeShadow.Of(text);
        foreach (var match in regex.EnumerateMatches(shadow.Text))
        {
            cuts.Add(text[shadow.Map(match.Index)..shadow.Map(match.Index + match.Length)]);
        }

        return cuts;
    }

    private static IEnumerable<string> CutBefore(string text, char mark)
    {
        var start = 0;
        for (var i = 1; i <= text.Length; i++)
        {
            if (i == text.Length || text[i] == mark)
            {
                yield return text[start..i];
                start = i;
            }
        }
    }

    private static IEnumerable<string> CutDigits(string text, bool individual)
    {
        var start = 0;
        var wasDigit = false;
        for (var i = 0; i < text.Length;)
        {
            var rune = Rune.GetRuneAt(text, i);
            var isDigit = Rune.GetUnicodeCategory(rune) is UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber;
            if (i > start && (isDigit != wasDigit || (isDigit && individual)))
            {
                yield return text[start..i];
                start = i;
            }

            wasDigit = isDigit;
            i += rune.Utf16SequenceLength;
        }

        if (start < text.Length)
        {
            yield return text[start..];
        }
    }

    [GeneratedRegex(@"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", RegexOptions.CultureInvariant)]
    private static partial Regex Gpt2();

    [GeneratedRegex(
        ContractionsAnyCase + @"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+", RegexOptions.CultureInvariant)]
    private static partial Regex Llama3();

    [GeneratedRegex(
        ContractionsAnyCase + @"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+", RegexOptions.CultureInvariant)]
    private static partial Regex Qwen2();
}
