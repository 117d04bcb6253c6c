using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Fla.Layers;

/// <summary>Makes matrices orthogonal by Gram and Schmidt's method; of normal ones it makes evenly distributed ones. The result does not depend on the processor.</summary>
internal static class OrthogonalMatrix
{
    private const int Block = 32;
    private const int Group = 4;

    /// <summary>Orthogonal rows, or columns where they are fewer, that span the same as those of a row-major matrix.</summary>
    /// <param name="values">[rows, columns]; overwritten.</param>
    /// <param name="rows">Number of rows.</param>
    /// <param name="columns">Number of columns.</param>
    /// <param name="gain">Length of each.</param>
    public static float[] From(float[] values, int rows, int columns, double gain)
    {
        var isWide = rows <= columns;
        var (count, length) = isWide ? (rows, columns) : (columns, rows);
        var vectors = isWide ? values : Transpose(values, rows, columns);
        for (var start = 0; start < count; start += Block)
        {
            var (first, end) = (start, Math.Min(start + Block, count));
            // Once leaves the rounding errors of nearly dependent vectors, twice is enough.
            for (var pass = 0; pass < 2; pass++)
            {
                Parallel.For(0, (end - first + Group - 1) / Group, group =>
                {
                    var from = first + (group * Group);
                    for (var j = 0; j < first; j++)
                    {
                        for (var i = from; i < Math.Min(from + Group, end); i++) Project(Row(i), Row(j));
                    }
                });
            }
            for (var i = first; i < end; i++)
            {
                for (var pass = 0; pass < 2; pass++)
                {
                    for (var j = first; j < i; j++) Project(Row(i), Row(j));
                }
                Scale(Row(i), 1 / Math.Sqrt(Dot(Row(i), Row(i))));
            }
        }
        if (gain != 1) Scale(vectors, gain);
        return isWide ? vectors : Transpose(vectors, columns, rows);

        Span<float> Row(int i) => vectors.AsSpan(i * length, length);
    }

    /// <summary>x ← x − (x·y) y.</summary>
    private static void Project(Span<float> x, ReadOnlySpan<float> y)
    {
        var dot = (float)Dot(x, y);
        var wideX = MemoryMarshal.Cast<float, Vector256<float>>(x);
        var wideY = MemoryMarshal.Cast<float, Vector256<float>>(y);
        for (var i = 0; i < wideX.Length; i++) wideX[i] -= wideY[i] * dot;
        for (var i = wideX.Length * Vector256<float>.Count; i < x.Length; i++) x[i] -= y[i] * dot;
    }

    private static double Dot(ReadOnlySpan<float> x, ReadOnlySpan<float> y)
    {
        var wideX = MemoryMarshal.Cast<float, Vector256<float>>(x);
        var wideY = MemoryMarshal.Cast<float, Vector256<float>>(y);
        var lanes = Vector256<float>.Zero;
        for (var i = 0; i < wideX.Length; i++) lanes += wideX[i] * wideY[i];
        double sum = 0;
        for (var lane = 0; lane < Vector256<float>.Count; lane++) sum += lanes[lane];
        for (var i = wideX.Length * Vector256<float>.Count; i < x.Length; i++) sum += (double)x[i] * y[i];
        return sum;
    }

    private static void Scale(Span<float> x, double factor)
    {
        foreach (ref var value in x) value = (float)(value * factor);
    }

    private static float[] Transpose(float[] values, int rows, int columns)
    {
        var result = new float[values.Length];
        Parallel.For(0, rows, i =>
        {
            for (var j = 0; j < columns; j++) result[(j * rows) + i] = values[(i * columns) + j];
        });
        return result;
    }
}
