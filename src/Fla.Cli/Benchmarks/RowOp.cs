using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Cli.Benchmarks;

/// <summary>One row in double precision: its token's position, inputs, the weight and the output's gradient to output and gradients of the inputs.</summary>
internal delegate (double[] Y, double[][] Gradients) RowFormula(int position, double[][] x, double[] w, double[] dy);

/// <summary>
/// An op over rows of channels, checked on some rows against its formula in double precision, gradients of the rows' inputs included. Its time is bounded by
/// the bytes it must move.
/// </summary>
/// <param name="Name">Name.</param>
/// <param name="Tensors">How many tensors of rows it reads.</param>
/// <param name="IsPerHead">Rows are heads [B,T,H,D]; otherwise [B,T,H·D].</param>
/// <param name="Weights">Channels of its weight for a row's width; 0 without one.</param>
/// <param name="Run">The op: tensors of rows, then the weight.</param>
/// <param name="Formula">One row.</param>
internal sealed record RowOp(string Name, int Tensors, bool IsPerHead, Func<int, int> Weights, Func<Tensor[], Tensor> Run,
    RowFormula Formula) : BenchOp(Name)
{
    private const int Sampled = 12;

    /// <inheritdoc/>
    public override BenchCase Make(ComputeDevice device, DType type, BenchShape shape)
    {
        int[] sizes = IsPerHead ? [shape.B, shape.T, shape.H, shape.D] : [shape.B, shape.T, shape.H * shape.D];
        var inputs = Enumerable.Range(1, Tensors).Select(i => RandomTensors.Normal(device, type, (ulong)i, 0, sizes)).ToList();
        var width = sizes[^1];
        if (Weights(width) is > 0 and var count) inputs.Add(RandomTensors.Normal(device, type, 50, 0, [count]));
        foreach (var input in inputs) input.RequiresGrad = true;
        var gradient = RandomTensors.Normal(device, type, 99, 0, sizes);
        var all = inputs.ToArray();
        double rows = gradient.ByteCount;
        BenchCase made = null!;
        made = new(all, () => Run(all), gradient, () => Error(made, shape, width), new((Tensors + 1) * rows, 0), new((3 * Tensors + 2) * rows, 0));
        return made;
    }

    private double Error(BenchCase made, BenchShape shape, int width)
    {
        var o = made.RunBoth();
        var weight = made.Inputs.Length > Tensors ? Doubles(made.Inputs[Tensors]) : [];
        var rows = (int)(o.Count / width);
        double worst = 0;
        for (var i = 0; i < Math.Min(Sampled, rows); i++)
        {
            var row = (int)((long)i * (rows - 1) / Math.Max(1, Math.Min(Sampled, rows) - 1));
            double[] Row(Tensor x)
            {
                using var off = Autograd.NoGrad();
                using var flat = x.View(rows, width);
                using var one = flat.Narrow(row, 1);
                return Doubles(one);
            }
            var (y, gradients) = Formula(row / (IsPerHead ? shape.H : 1) % shape.T, made.Inputs[..Tensors].Select(Row).ToArray(), weight, Row(made.Gradient!));
            worst = Ratios.Worse(worst, Ratios.Of(Floats(Row(o)), Floats(y)));
            for (var k = 0; k < Tensors; k++) worst = Ratios.Worse(worst, Ratios.Of(Floats(Row(made.Inputs[k].Grad!)), Floats(gradients[k])));
        }
        made.ClearGradients();
        return worst;
    }

    private static double[] Doubles(Tensor x) => Array.ConvertAll(x.ToSingle(), v => (double)v);

    private static float[] Floats(double[] x) => Array.ConvertAll(x, v => (float)v);
}

/// <summary>The row ops' formulas.</summary>
internal static class RowFormulas
{
    private const double Epsilon = 1e-5;

    /// <summary>y = x / rms(x) · w.</summary>
    public static (double[], double[][]) RmsNorm(int position, double[][] x, double[] w, double[] dy)
    {
        var (y, dx) = Normalize(x[0], w, dy);
        return (y, [dx]);
    }

    /// <summary>y = x / rms(x) · w · silu(g).</summary>
    public static (double[], double[][]) RmsNormGated(int position, double[][] x, double[] w, double[] dy)
    {
        var g = x[1];
        var (plain, _) = Normalize(x[0], w, dy);
        var (_, dx) = Normalize(x[0], w, dy.Select((d, i) => d * Silu(g[i])).ToArray());
        return (plain.Select((p, i) => p * Silu(g[i])).ToArray(), [dx, dy.Select((d, i) => d * plain[i] * SiluSlope(g[i])).ToArray()]);
    }

    /// <summary>y = silu(a) · b.</summary>
    public static (double[], double[][]) SwiGlu(int position, double[][] x, double[] w, double[] dy) =>
        (x[0].Select((a, i) => Silu(a) * x[1][i]).ToArray(),
            [dy.Select((d, i) => d * x[1][i] * SiluSlope(x[0][i])).ToArray(), dy.Select((d, i) => d * Silu(x[0][i])).ToArray()]);

    /// <summary>Channels i and i + D/2 turned by position · 10000^(-2i/D).</summary>
    public static (double[], double[][]) Rotary(int position, double[][] x, double[] w, double[] dy) => (Turn(x[0], position), [Turn(dy, -position)]);

    private static double[] Turn(double[] x, int position)
    {
        var half = x.Length / 2;
        var y = new double[x.Length];
        for (var i = 0; i < half; i++)
        {
            var (sin, cos) = Math.SinCos(position * Math.Pow(10000, -2.0 * i / x.Length));
            (y[i], y[i + half]) = (x[i] * cos - x[i + half] * sin, x[i] * sin + x[i + half] * cos);
        }
        return y;
    }

    private static (double[] Y, double[] Dx) Normalize(double[] x, double[] w, double[] dy)
    {
        var r = 1 / Math.Sqrt(x.Sum(v => v * v) / x.Length + Epsilon);
        var mean = x.Select((v, i) => dy[i] * w[i] * v * r).Sum() / x.Length;
        return (x.Select((v, i) => v * r * w[i]).ToArray(), x.Select((v, i) => r * (dy[i] * w[i] - v * r * mean)).ToArray());
    }

    private static double Sigmoid(double x) => 1 / (1 + Math.Exp(-x));

    private static double Silu(double x) => x * Sigmoid(x);

    private static double SiluSlope(double x) => Sigmoid(x) * (1 + x * (1 - Sigmoid(x)));
}
