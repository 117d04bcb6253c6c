using Fla.Vulkan;

namespace Fla.Layers;

/// <summary>
/// Random values for fresh parameters (see <see cref="WeightRules"/>). What a parameter gets depends on the seed and its full name only.
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
        parameter.Write(Normals(parameter.Count, name, Range));
    }

    /// <summary>Overwrites a parameter with functions of even values.</summary>
    /// <param name="parameter">What to fill.</param>
    /// <param name="name">Its full name.</param>
    /// <param name="value">From a number above 0 and below 1.</param>
    public void Mapped(Tensor parameter, string name, Func<double, double> value)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        var stream = Stream(name);
        var values = new float[parameter.Count];
        Parallel.For(0, values.Length, i => values[i] = (float)value(((Bits(stream, i) >> 11) + 0.5) * (1.0 / (1UL << 53))));
        parameter.Write(values);
    }

    /// <summary>Overwrites a matrix with orthogonal rows, or columns where they are fewer.</summary>
    /// <param name="parameter">What to fill; axes after the first count as one.</param>
    /// <param name="name">Its full name.</param>
    /// <param name="gain">Length of the rows or columns.</param>
    public void Orthogonal(Tensor parameter, string name, double gain)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        int rows = parameter.Size(0), columns = (int)(parameter.Count / rows);
        var values = Normals(parameter.Count, name, 1);
        parameter.Write(OrthogonalMatrix.From(values, rows, columns, gain));
    }

    private float[] Normals(long count, string name, double deviation)
    {
        var stream = Stream(name);
        var values = new float[count];
        Parallel.For(0, (values.Length + 1) / 2, pair =>
        {
            var bits = Bits(stream, pair);
            var radius = deviation * Math.Sqrt(-2 * Math.Log(((bits >> 32) + 1) * (1.0 / 4294967297.0)));
            var (sine, cosine) = Math.SinCos(2 * Math.PI * (uint)bits * (1.0 / 4294967296.0));
            values[2 * pair] = (float)(radius * cosine);
            if ((2 * pair) + 1 < values.Length) values[(2 * pair) + 1] = (float)(radius * sine);
        });
        return values;
    }

    private ulong Stream(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        return name.Aggregate(Mix(Seed + Golden), (hash, letter) => Mix(hash ^ letter));
    }

    private static ulong Bits(ulong stream, int place) => Mix(stream + (Golden * (ulong)place));

    /// <summary>The finaliser of splitmix64.</summary>
    private static ulong Mix(ulong x)
    {
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
        return x ^ (x >> 31);
    }
}
