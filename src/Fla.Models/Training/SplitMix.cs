namespace Fla.Models.Training;

/// <summary>
/// SplitMix64 (Steele, Lea, Flood 2014): a small generator whose numbers are part of this library's contract, so that a run can be repeated on any
/// version of .NET.
/// </summary>
internal struct SplitMix(ulong seed)
{
    private const ulong Step = 0x9E3779B97F4A7C15;

    private ulong _state = seed;

    /// <summary>An independent generator for one of many streams under one seed.</summary>
    public static SplitMix Of(ulong seed, ulong stream) => unchecked(new(Mix(seed + Step) ^ Mix(stream + Step + Step)));

    /// <summary>64 random bits.</summary>
    public ulong Next() => Mix(_state += Step);

    /// <summary>A number from 0 to below <paramref name="limit"/>, without bias.</summary>
    public int Below(int limit)
    {
        var range = (ulong)limit;
        var rest = (ulong.MaxValue % range + 1) % range;
        ulong bits;
        do bits = Next();
        while (bits > ulong.MaxValue - rest);
        return (int)(bits % range);
    }

    /// <summary>The numbers from 0 to below <paramref name="count"/> in random order.</summary>
    public int[] Permutation(int count)
    {
        var order = new int[count];
        for (var i = 0; i < count; i++)
        {
            var j = Below(i + 1);
            order[i] = order[j];
            order[j] = i;
        }
        return order;
    }

    private static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
