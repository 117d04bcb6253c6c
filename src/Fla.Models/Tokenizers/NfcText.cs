using System.Text;

namespace Fla.Models.Tokenizers;

/// <summary>Normalization form C, also where the process has no Unicode normalization data (.NET's invariant globalization).</summary>
internal static class NfcText
{
    // Ranges of code points that are their own NFC, whatever stands beside them: no combining marks, no decompositions, no second halves of a
    // composition. They cover most text of most scripts.
    private static readonly (int First, int Last)[] Inert =
    [
        (0x0, 0x2FF), (0x391, 0x3CE), (0x400, 0x482), (0x48A, 0x52F), (0x5D0, 0x5EA), (0x1E00, 0x1EFF), (0x2010, 0x2027), (0x2030, 0x205E),
        (0x20A0, 0x20C0), (0x2190, 0x2328), (0x2500, 0x27BF), (0x3001, 0x3029), (0x3041, 0x3096), (0x309B, 0x30FF), (0x3400, 0x4DBF),
        (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xFF01, 0xFFEE), (0x1F300, 0x1FAFF),
    ];

    private static readonly bool HasData = "e\u0301".Normalize(NormalizationForm.FormC).Length == 1;

    /// <summary>The text in normalization form C.</summary>
    /// <exception cref="TokenizerException">The text may need composing, and the process has no data to do it with.</exception>
    public static string Normalize(string text)
    {
        if (HasData)
        {
            return text.Normalize(NormalizationForm.FormC);
        }

        foreach (var rune in text.EnumerateRunes())
        {
            if (!Array.Exists(Inert, range => rune.Value >= range.First && rune.Value <= range.Last))
            {
                throw new TokenizerException(
                    $"the text has U+{rune.Value:X4}, which may need NFC; this process runs without Unicode data (InvariantGlobalization)",
                    "normalizer");
            }
        }

        return text;
    }
}
