using System.Text.Json;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Bench;

/// <summary>Matrix products x · Wᵀ: checked on sampled elements against a float64 sum, then timed.</summary>
internal static class GemmBench
{
    private const double Tolerance = 1e-2;
    private static readonly (int M, int N, int K)[] GpuShapes = [(8192, 8192, 8192), (4096, 4096, 4096), (8192, 2048, 1024), (1, 8192, 8192)];
    private static readonly (int M, int N, int K)[] CpuShapes = [(512, 512, 512), (1024, 256, 256), (1, 1024, 1024)];

    /// <summary>gemm [--dtype f16] [--shape M,N,K]...; one line of JSON a shape.</summary>
    public static int Run(ComputeDevice device, string[] args)
    {
        var at = Array.IndexOf(args, "--dtype");
        var type = at >= 0 ? DTypes.Parse(args[at + 1]) : DType.Float16;
        var shapes = args.Select((a, i) => (a, i)).Where(x => x.a == "--shape").Select(x => args[x.i + 1].Split(',').Select(int.Parse).ToArray())
            .Select(s => (s[0], s[1], s[2])).ToArray();
        if (shapes.Length == 0) shapes = device.IsCpu ? CpuShapes : GpuShapes;
        var wrong = 0;
        foreach (var (m, n, k) in shapes) wrong += Measure(device, type, m, n, k) ? 0 : 1;
        return wrong == 0 ? 0 : 1;
    }

    private static bool Measure(ComputeDevice device, DType type, int m, int n, int k)
    {
        using var scope = device.Scope();
        using var off = Autograd.NoGrad();
        var x = Noise(device, type, 1, m, k);
        var w = Noise(device, type, 2, n, k);
        double ratio;
        using (device.Scope()) ratio = SampledError(x.ToSingle(), w.ToSingle(), Products.Linear(x, w).ToSingle(), m, n, k);
        var shape = $"M{m} N{n} K{k}";
        if (!(ratio < Tolerance))
        {
            Console.WriteLine(JsonSerializer.Serialize(new { op = "linear", shape, dtype = type.ShortName(), error = $"wrong: error ratio {ratio:g3}" }));
            return false;
        }
        var (ms, spread) = Timing.Run(device, () => Products.Linear(x, w));
        Console.WriteLine(JsonSerializer.Serialize(new
        {
            op = "linear", shape, dtype = type.ShortName(), ms = Math.Round(ms, 4), spread = Math.Round(spread, 3), stable = Timing.IsStable(spread),
            tflop_s = Math.Round(2.0 * m * n * k / ms / 1e9, 2), gb_s = Math.Round((x.ByteCount + w.ByteCount + (double)m * n * type.Size()) / ms / 1e6, 1),
            error_ratio = ratio,
        }));
        return true;
    }

    private static Tensor Noise(ComputeDevice device, DType type, int seed, int rows, int columns)
    {
        var random = new Random(seed);
        var block = new float[1_000_003];
        for (var i = 0; i < block.Length; i++) block[i] = random.NextSingle() - 0.5f;
        var values = new float[(long)rows * columns];
        for (var i = 0; i < values.Length; i += block.Length) block.AsSpan(0, Math.Min(block.Length, values.Length - i)).CopyTo(values.AsSpan(i));
        return Tensor.From(device, values, [rows, columns], type);
    }

    private static double SampledError(float[] x, float[] w, float[] y, int m, int n, int k)
    {
        var random = new Random(5);
        double difference = 0, norm = 0;
        for (var sample = 0; sample < 500; sample++)
        {
            var (r, c) = (random.Next(m), random.Next(n));
            double sum = 0;
            for (var i = 0; i < k; i++) sum += (double)x[(long)r * k + i] * w[(long)c * k + i];
            difference += (y[(long)r * n + c] - sum) * (y[(long)r * n + c] - sum);
            norm += sum * sum;
        }
        return Math.Sqrt(difference / norm);
    }
}
