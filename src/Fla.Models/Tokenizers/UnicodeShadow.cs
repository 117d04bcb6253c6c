using System.Globalization;

namespace Fla.Models.Tokenizers;

/// <summary>
/// .NET's regular expressions see UTF-16 units, so that a letter beyond U+FFFF is no <c>\p{L}</c> to them. The shadow of a text has one unit for
/// every code point, those beyond U+FFFF replaced by one of the same general category; matches in it are mapped back.
/// </summary>
internal sealed class UnicodeShadow
{
    private static readonly Dictionary<UnicodeCategory, char> Representatives = BuildRepresentatives();

    private readonly int[]? _starts;

    private UnicodeShadow(string text, int[]? starts)
    {
        Text = text;
        _starts = starts;
    }

    /// <summary>The shadow.</summary>
    public string Text { get; }

    /// <summary>Builds the shadow of a text without lone surrogates.</summary>
    public static UnicodeShadow Of(string text)
    {
        if (!text.Any(char.IsSurrogate))
        {
            return new UnicodeShadow(text, null);
        }

        var chars = new List<char>(text.Length);
        var starts = new List<int>(text.Length + 1);
        for (var i = 0; i < text.Length; i++)
        {
            starts.Add(i);
            if (char.IsHighSurrogate(text[i]))
            {
                chars.Add(Representatives[CharUnicodeInfo.GetUnicodeCategory(text, i)]);
                i++;
            }
            else
            {
                chars.Add(text[i]);
            }
        }

        starts.Add(text.Length);
        return new UnicodeShadow(new string([.. chars]), [.. starts]);
    }

    /// <summary>Where a position of the shadow is in the text.</summary>
    public int Map(int position) => _starts is null ? position : _starts[position];

    private static Dictionary<UnicodeCategory, char> BuildRepresentatives()
    {
        // Above Latin, so that no literal of a pattern and no case folding can meet one.
        var representatives = new Dictionary<UnicodeCategory, char>();
        for (var c = '\u0E00'; c < char.MaxValue; c++)
        {
            representatives.TryAdd(CharUnicodeInfo.GetUnicodeCategory(c), c);
        }

        return representatives;
    }
}
