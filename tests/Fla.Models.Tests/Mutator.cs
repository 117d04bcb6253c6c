using System.Text;

namespace Fla.Models.Tests;

/// <summary>Random damage to valid files, the same from run to run: what a fuzzer does, without its coverage feedback.</summary>
internal sealed class Mutator(int seed)
{
    private static readonly byte[][] Words = [.. ((string[])
    [
        "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "\\ud800", "null", "true", "-1", "0", "1e999", "1.5", "4294967296", "9223372036854775807",
        "18446744073709551616", "Infinity", "-Infinity", "NaN", "{\"__float__\":\"Infinity\"}", "\"dtype\"", "\"shape\"", "\"data_offsets\"",
        "\"__metadata__\"", "\"F32\"", "\"attn\"", "\"layers\"", "\"model_type\"", "\"\"", "é", "/*", " ",
    ]).Select(Encoding.UTF8.GetBytes)];

    private readonly Random _random = new(seed);

    /// <summary>One damaged copy of one of the <paramref name="seeds"/>, or, now and then, noise.</summary>
    public byte[] Next(IReadOnlyList<byte[]> seeds)
    {
        if (_random.Next(50) == 0)
        {
            var noise = new byte[_random.Next(200)];
            _random.NextBytes(noise);
            return noise;
        }

        var bytes = seeds[_random.Next(seeds.Count)];
        for (var rounds = 1 + _random.Next(4); rounds > 0; rounds--)
        {
            bytes = Damage(bytes, seeds);
        }

        return bytes;
    }

    private byte[] Damage(byte[] bytes, IReadOnlyList<byte[]> seeds)
    {
        var at = _random.Next(bytes.Length + 1);
        var length = Math.Min(_random.Next(1, 9), bytes.Length - at);
        switch (_random.Next(8))
        {
            case 0:
                var flipped = (byte[])bytes.Clone();
                if (at < flipped.Length)
                {
                    flipped[at] ^= (byte)(1 << _random.Next(8));
                }

                return flipped;
            case 1:
                var overwritten = (byte[])bytes.Clone();
                _random.NextBytes(overwritten.AsSpan(at, length));
                return overwritten;
            case 2:
                return [.. bytes[..at], .. bytes[(at + length)..]];
            case 3:
                return [.. bytes[..at], .. bytes[at..(at + length)], .. bytes[at..]];
            case 4:
                return [.. bytes[..at], .. Words[_random.Next(Words.Length)], .. bytes[at..]];
            case 5:
                return [.. bytes[..at], .. Words[_random.Next(Words.Length)], .. bytes[(at + length)..]];
            case 6:
                return bytes[..at];
            default:
                var other = seeds[_random.Next(seeds.Count)];
                return [.. bytes[..at], .. other[Math.Min(at, other.Length)..]];
        }
    }
}
