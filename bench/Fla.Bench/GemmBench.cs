using System.Text.Json;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Bench;

/// <summary>
/// Products of matrices: sampled entries checked in double precision first, then timed. Reported beside the time that the bytes of inputs and output would
/// take at the device's own copy rate and, where the rate of its arithmetic is given, beside that.
/// </summary>
internal static class GemmBench
{
    private const int SampledEntries = 512;

    // Large, a layer of a model, a weight gradient with a long reduction, and one token.
    private static readonly (int M, int N, int K, bool TransA, bool TransB)[] GpuShapes =
        [(8192, 8192, 8192, false, true), (4096, 1024, 1024, false, true), (4096, 4096, 1024, false, false), (1024, 1024, 16384, true, false), (1, 4096, 4096, false, true)];

    private static readonly (int M, int N, int K, bool TransA, bool TransB)[] CpuShapes =
        [(1024, 256, 256, false, true), (1024, 256, 256, false, false), (256, 256, 1024, true, false), (1, 1024, 1024, false, true)];

    /// <summary>gemm [--dtype bf16] [--route tiles|direct|skinny] [--peak TFLOPS]; one line of JSON a measurement.</summary>
    public static int Run(ComputeDevice device, string[] args)
    {
        var type = Value(args, "--dtype") is { } t ? DTypes.Parse(t) : device.IsCpu ? DType.Float32 : DType.BFloat16;
        GemmRoute? route = Value(args, "--route") is { } r ? Enum.Parse<GemmRoute>(r, ignoreCase: true) : null;
        double? peak = Value(args, "--peak") is { } p ? double.Parse(p, System.Globalization.CultureInfo.InvariantCulture) : null;
        var bandwidth = Timing.CopyBandwidth(device);
        Write(new { device = device.Name, driver = device.Info.Driver, copy_gb_s = Math.Round(bandwidth / 1e9), matrix = device.MatrixShape(type)?.ToString(), peak_tflops = peak });
        var wrong = 0;
        foreach (var shape in device.IsCpu ? CpuShapes : GpuShapes) wrong += Measure(device, type, shape, route, bandwidth, peak) ? 0 : 1;
        return wrong == 0 ? 0 : 1;
    }

    private static bool Measure(ComputeDevice device, DType type, (int M, int N, int K, bool TransA, bool TransB) s, GemmRoute? route, double bandwidth, double? peak)
    {
        using var scope = device.Scope();
        var a = new Operand(Uniform(device, type, s.TransA ? [s.K, s.M] : [s.M, s.K], 1), s.TransA ? s.K : s.M, s.TransA ? s.M : s.K, s.TransA);
        var b = new Operand(Uniform(device, type, s.TransB ? [s.N, s.K] : [s.K, s.N], 2), s.TransB ? s.N : s.K, s.TransB ? s.K : s.N, s.TransB);
        var c = Tensor.Empty(device, type, s.M, s.N);
        Gemm.Run(a, b, c, route: route);
        var name = $"{s.M}x{s.N}x{s.K}{(s.TransA ? " transA" : "")}{(s.TransB ? " transB" : "")}";
        var ratio = SampledError(a, b, c, s.M, s.N, s.K);
        if (!(ratio < (type == DType.Float32 ? 1e-5 : type == DType.Float16 ? 5e-3 : 2e-2)))
        {
            Write(new { op = "gemm", shape = name, dtype = type.ShortName(), error = $"wrong: error ratio {ratio:g3} to double precision" });
            return false;
        }
        var time = Timing.Run(device, () => Gemm.Run(a, b, c, route: route));
        var tflops = 2.0 * s.M * s.N * s.K / time.Milliseconds / 1e9;
        var floor = (a.Tensor.ByteCount + b.Tensor.ByteCount + c.ByteCount) / bandwidth * 1000;
        Write(new
        {
            op = "gemm", shape = name, dtype = type.ShortName(), route = (route ?? GemmPlan.Route(device, a, b, 1, s.M, s.N, s.K)).ToString(), ms = Math.Round(time.Milliseconds, 4),
            spread = Math.Round(time.Spread, 3), stable = Timing.IsStable(time.Spread), tflops = Math.Round(tflops, 3), of_peak = peak is { } p ? Math.Round(tflops / p, 3) : (double?)null,
            floor_ms = Math.Round(floor, 4), of_bandwidth = Math.Round(floor / time.Milliseconds, 3), error_ratio = Math.Round(ratio, 7),
        });
        return true;
    }

    private static double SampledError(Operand a, Operand b, Tensor c, int m, int n, int k)
    {
        var (av, bv, cv) = (a.Tensor.ToSingle(), b.Tensor.ToSingle(), c.ToSingle());
        var random = new Random(3);
        double difference = 0, norm = 0;
        for (var i = 0; i < SampledEntries; i++)
        {
            // The last rows and columns, too, where guards are.
            var row = i % 4 == 0 ? m - 1 - i % Math.Min(m, 20) : random.Next(m);
            var column = i % 4 == 1 ? n - 1 - i % Math.Min(n, 20) : random.Next(n);
            double sum = 0;
            for (var l = 0; l < k; l++) sum += (double)av[a.Transposed ? (long)l * m + row : (long)row * k + l] * bv[b.Transposed ? (long)column * k + l : (long)l * n + column];
            var delta = cv[(long)row * n + column] - sum;
            difference += delta * delta;
            norm += sum * sum;
        }
        return Math.Sqrt(difference / norm);
    }

    private static Tensor Uniform(ComputeDevice device, DType type, int[] shape, int seed)
    {
        var random = new Random(seed);
        var values = new float[(long)shape[0] * shape[1]];
        for (var i = 0; i < values.Length; i++) values[i] = random.NextSingle() * 2 - 1;
        return Tensor.From(device, values, shape, type);
    }

    private static string? Value(string[] args, string name) => Array.IndexOf(args, name) is var i and >= 0 && i + 1 < args.Length ? args[i + 1] : null;

    private static void Write(object record) => Console.WriteLine(JsonSerializer.Serialize(record));
}
