namespace Fla.Testing.References;

/// <summary>Seeded random inputs whose elements are fp32 numbers.</summary>
public static class Inputs
{
    /// <summary>Packed sequence boundaries that tests of variable length use.</summary>
    public static IReadOnlyList<int[]> PackedBoundaries { get; } =
        [[0, 15], [0, 0, 16], [0, 1, 30, 64], [0, 15, 100, 130], [0, 63, 64, 129, 200]];

    /// <summary>Standard normal.</summary>
    public static RefTensor Normal(int seed, params int[] shape)
    {
        var random = new Random(seed);
        return Fill(shape, () => StandardNormal(random));
    }

    /// <summary>Uniform in [low, high).</summary>
    public static RefTensor Uniform(int seed, double low, double high, params int[] shape)
    {
        var random = new Random(seed);
        return Fill(shape, () => low + ((high - low) * random.NextDouble()));
    }

    /// <summary>
    /// Natural-log decays: log-sigmoid of a standard normal over <paramref name="normalizer"/> (small: very strong decay), of which a
    /// random part <paramref name="noDecay"/> is 0.
    /// </summary>
    public static RefTensor LogSigmoidGate(int seed, int[] shape, double normalizer = 1, double noDecay = 0)
    {
        var random = new Random(seed);
        return Fill(shape, () =>
        {
            double gate = -Math.Log(1 + Math.Exp(-StandardNormal(random))) / normalizer;
            return random.NextDouble() < noDecay ? 0 : gate;
        });
    }

    /// <summary>Standard normal vectors divided by their length, along the last axis.</summary>
    public static RefTensor UnitVectors(int seed, params int[] shape)
    {
        RefTensor tensor = Normal(seed, shape);
        int width = shape[^1];
        for (int row = 0; row < tensor.Length; row += width)
        {
            Span<double> vector = tensor.Data.AsSpan(row, width);
            double squares = 0;
            foreach (double x in vector)
            {
                squares += x * x;
            }

            foreach (ref double x in vector)
            {
                x = (float)(x / Math.Sqrt(squares));
            }
        }

        return tensor;
    }

    /// <summary>Uniform integers in [0, <paramref name="count"/>): token ids, labels.</summary>
    public static int[] Ids(int seed, int count, int length)
    {
        var random = new Random(seed);
        var ids = new int[length];
        foreach (ref int id in ids.AsSpan())
        {
            id = random.Next(count);
        }

        return ids;
    }

    private static RefTensor Fill(int[] shape, Func<double> next)
    {
        RefTensor tensor = RefTensor.Zeros(shape);
        foreach (ref double x in tensor.Data.AsSpan())
        {
            x = (float)next();
        }

        return tensor;
    }

    private static double StandardNormal(Random random) =>
        Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
}
