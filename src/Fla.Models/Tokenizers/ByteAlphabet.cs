using System.Text;

namespace Fla.Models.Tokenizers;

/// <summary>
/// The one-to-one map between bytes and printable characters of byte-level BPE, introduced with GPT-2 (Radford et al., 2019): printable bytes
/// of Latin-1 stand for themselves, the others, in order, for the characters from U+0100 on.
/// </summary>
internal static class ByteAlphabet
{
    private static readonly char[] Chars = BuildChars();
    private static readonly Dictionary<char, byte> Bytes = Chars.Select((c, value) => (c, value)).ToDictionary(e => e.c, e => (byte)e.value);

    /// <summary>The character that stands for a byte.</summary>
    public static char CharOf(byte value) => Chars[value];

    /// <summary>The byte that a character stands for.</summary>
    public static bool TryByteOf(char c, out byte value) => Bytes.TryGetValue(c, out value);

    /// <summary>A text's UTF-8 in this alphabet.</summary>
    public static string Spell(string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        return string.Create(bytes.Length, bytes, static (target, source) =>
        {
            for (var i = 0; i < source.Length; i++)
            {
                target[i] = Chars[source[i]];
            }
        });
    }

    /// <summary>Bytes of a token: what its characters stand for, or its own UTF-8 when one of them is outside the alphabet.</summary>
    public static byte[] BytesOf(string token)
    {
        var bytes = new byte[token.Length];
        for (var i = 0; i < token.Length; i++)
        {
            if (!TryByteOf(token[i], out bytes[i]))
            {
                return Encoding.UTF8.GetBytes(token);
            }
        }

        return bytes;
    }

    private static char[] BuildChars()
    {
        var chars = new char[256];
        var next = '\u0100';
        for (var value = 0; value < chars.Length; value++)
        {
            var stands = value is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            chars[value] = stands ? (char)value : next++;
        }

        return chars;
    }
}
