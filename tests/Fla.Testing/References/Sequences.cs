namespace Fla.Testing.References;

/// <summary>Which tokens, counted over batch and time together, make up each sequence.</summary>
internal static class Sequences
{
    /// <summary>Token ranges [Start, End): one a batch row, or one a packed sequence.</summary>
    /// <exception cref="ArgumentException">Packed boundaries with more than one batch row, or not rising from 0 to the length.</exception>
    public static (int Start, int End)[] Of(int batch, int length, int[]? cuSeqlens)
    {
        if (cuSeqlens is null)
        {
            return [.. Enumerable.Range(0, batch).Select(b => (b * length, (b + 1) * length))];
        }

        if (batch != 1)
        {
            throw new ArgumentException($"Packed sequences need a batch of 1, not {batch}.", nameof(cuSeqlens));
        }

        bool rising = cuSeqlens.Zip(cuSeqlens.Skip(1)).All(x => x.First <= x.Second);
        if (cuSeqlens.Length < 2 || cuSeqlens[0] != 0 || cuSeqlens[^1] != length || !rising)
        {
            throw new ArgumentException($"Boundaries [{string.Join(", ", cuSeqlens)}] do not rise from 0 to {length}.", nameof(cuSeqlens));
        }

        return [.. cuSeqlens.Zip(cuSeqlens.Skip(1))];
    }
}
