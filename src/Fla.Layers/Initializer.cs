using Fla.Vulkan;

namespace Fla.Layers;

/// <summary>
/// Fresh values for parameters: normal ones of mean 0 for weights of linear maps, convolutions and embeddings, constants for the rest. What a parameter
/// gets depends on the seed and its full name only.
/// </summary>
/// <param name="Seed">Seed.</param>
/// <param name="Range">Standard deviation of the normal distribution: a config's <c>initializer_range</c>.</param>
public sealed record Initializer(ulong Seed, double Range = 0.02)
{
    private const ulong Golden = 0x9E3779B97F4A7C15;

    /// <summary>Overwrites a parameter with normal values.</summary>
    /// <param name="parameter">What to fill.</param>
    /// <param name="name">Its full name.</param>
    public void Normal(Tensor parameter, string name)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        ArgumentNullException.ThrowIfNull(name);
        var stream = name.Aggregate(Mix(Seed + Golden), (hash, letter) => Mix(hash ^ letter));
        var values = new float[parameter.Count];
        Parallel.For(0, (values.Length + 1) / 2, pair =>
        {
            var bits = Mix(stream + (Golden * (ulong)pair));
            var radius = Range * Math.Sqrt(-2 * Math.Log(((bits >> 32) + 1) * (1.0 / 4294967297.0)));
            var (sine, cosine) = Math.SinCos(2 * Math.PI * (uint)bits * (1.0 / 4294967296.0));
            values[2 * pair] = (float)(radius * cosine);
            if ((2 * pair) + 1 < values.Length) values[(2 * pair) + 1] = (float)(radius * sine);
        });
        parameter.Write(values);
    }

    /// <summary>The finaliser of splitmix64.</summary>
    private static ulong Mix(ulong x)
    {
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
        return x ^ (x >> 31);
    }
}
