using System.Text.Json;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Bench;

/// <summary>
/// Operators over a set of shapes: checked against the token-by-token form first, then timed forward and forward with backward, beside the time that
/// the bytes of inputs and outputs would take at the device's own copy rate.
/// </summary>
internal static class OpBench
{
    private const double Tolerance = 2e-2;
    private static readonly (int B, int T, int H, int D)[] GpuShapes = [(1, 8192, 96, 128), (4, 2048, 16, 128)];
    private static readonly (int B, int T, int H, int D)[] CpuShapes = [(1, 256, 2, 64)];

    private sealed record Inputs(Tensor Q, Tensor K, Tensor V, Tensor? G)
    {
        public Tensor[] All => G == null ? [Q, K, V] : [Q, K, V, G];
    }

    /// <param name="Gate">0 no gate, 1 a gate per head, 2 a gate per channel.</param>
    private sealed record Op(string Name, int Gate, Func<Inputs, Tensor> Run, Func<Inputs, Tensor> Recurrent);

    private static readonly Op[] Ops =
    [
        new("chunk_retention", 0, i => LinearOps.ChunkRetention(i.Q, i.K, i.V).O, i => LinearOps.FusedRecurrentRetention(i.Q, i.K, i.V).O),
        new("fused_chunk_retention", 0, i => LinearOps.FusedChunkRetention(i.Q, i.K, i.V).O, i => LinearOps.FusedRecurrentRetention(i.Q, i.K, i.V).O),
        new("chunk_simple_gla", 1, i => LinearOps.ChunkSimpleGla(i.Q, i.K, i.V, i.G).O, i => LinearOps.FusedRecurrentSimpleGla(i.Q, i.K, i.V, i.G).O),
        new("chunk_gla", 2, i => LinearOps.ChunkGla(i.Q, i.K, i.V, i.G!).O, i => LinearOps.FusedRecurrentGla(i.Q, i.K, i.V, i.G).O),
    ];

    /// <summary>ops [NAME...] [--dtype bf16] [--shape B,T,H,D]... [--profile]; one line of JSON a measurement.</summary>
    public static int Run(ComputeDevice device, string[] args)
    {
        var type = Value(args, "--dtype") is { } t ? DTypes.Parse(t) : DType.BFloat16;
        var shapes = args.Select((a, i) => (a, i)).Where(x => x.a == "--shape").Select(x => args[x.i + 1].Split(',').Select(int.Parse).ToArray())
            .Select(s => (s[0], s[1], s[2], s[3])).ToArray();
        if (shapes.Length == 0) shapes = device.IsCpu ? CpuShapes : GpuShapes;
        var names = args.Where(a => Ops.Any(o => o.Name == a)).ToArray();
        var bandwidth = Timing.CopyBandwidth(device);
        Write(new { device = device.Name, driver = device.Info.Driver, copy_gb_s = Math.Round(bandwidth / 1e9), matrix = device.MatrixShape(type)?.ToString() });
        var wrong = 0;
        foreach (var op in Ops.Where(o => names.Length == 0 || names.Contains(o.Name)))
        {
            foreach (var shape in shapes) wrong += Measure(device, op, type, shape, bandwidth, args.Contains("--profile")) ? 0 : 1;
        }
        return wrong == 0 ? 0 : 1;
    }

    private static bool Measure(ComputeDevice device, Op op, DType type, (int B, int T, int H, int D) shape, double bandwidth, bool profile)
    {
        using var scope = device.Scope();
        var inputs = Make(device, op.Gate, type, shape);
        double ratio;
        using (device.Scope())
        using (Autograd.NoGrad()) ratio = ErrorRatio(op.Run(inputs).ToSingle(), op.Recurrent(inputs).ToSingle());
        if (!(ratio < Tolerance))
        {
            Write(new { op = op.Name, shape = Text(shape), dtype = type.ShortName(), error = $"wrong: error ratio {ratio:g3} to fused_recurrent" });
            return false;
        }
        var floor = (inputs.All.Sum(t => t.ByteCount) + inputs.V.ByteCount) / bandwidth * 1000;
        var forward = Timing.Run(device, () =>
        {
            using var off = Autograd.NoGrad();
            op.Run(inputs);
        });
        Report(op, type, shape, "fwd", forward, floor, ratio);

        foreach (var tensor in inputs.All) tensor.RequiresGrad = true;
        using var doutput = Noise(device, type, shape, 17, x => x);
        void Step()
        {
            Autograd.Backward(op.Run(inputs), doutput);
            foreach (var tensor in inputs.All) tensor.Grad = null;
        }
        Report(op, type, shape, "fwdbwd", Timing.Run(device, Step), 2 * floor, ratio);
        if (profile)
        {
            using var times = device.Stream.StartProfile();
            for (var i = 0; i < 5; i++) using (device.Scope()) Step();
            times.Stop();
            foreach (var (kernel, total, count) in times.Totals()) Write(new { kernel, ms_per_step = Math.Round(total / 5e6, 4), dispatches = count / 5 });
        }
        return true;
    }

    private static void Report(Op op, DType type, (int, int, int, int) shape, string mode, (double Milliseconds, double Spread) time, double floor, double ratio) =>
        Write(new
        {
            op = op.Name, shape = Text(shape), dtype = type.ShortName(), mode, ms = Math.Round(time.Milliseconds, 4), spread = Math.Round(time.Spread, 3),
            stable = Timing.IsStable(time.Spread), floor_ms = Math.Round(floor, 4), of_roof = Math.Round(floor / time.Milliseconds, 3), error_ratio = Math.Round(ratio, 5),
        });

    private static Inputs Make(ComputeDevice device, int gate, DType type, (int B, int T, int H, int D) shape) =>
        new(Noise(device, type, shape, 1, x => x), Noise(device, type, shape, 2, x => x), Noise(device, type, shape, 3, x => x),
            gate switch
            {
                0 => null,
                1 => Noise(device, DType.Float32, shape with { D = 1 }, 4, LogSigmoid).View(shape.B, shape.T, shape.H),
                _ => Noise(device, type, shape, 4, x => LogSigmoid(x) / 16),
            });

    private static float LogSigmoid(float x) => -MathF.Log(1 + MathF.Exp(-x));

    /// <summary>Normal values; a megabyte of them repeats, at a length that is no multiple of any axis.</summary>
    private static Tensor Noise(ComputeDevice device, DType type, (int B, int T, int H, int D) s, int seed, Func<float, float> map)
    {
        var random = new Random(seed);
        var block = new float[1_000_003];
        for (var i = 0; i < block.Length; i++) block[i] = map(MathF.Sqrt(-2 * MathF.Log(1 - random.NextSingle())) * MathF.Cos(2 * MathF.PI * random.NextSingle()));
        var values = new float[(long)s.B * s.T * s.H * s.D];
        for (var i = 0; i < values.Length; i += block.Length) block.AsSpan(0, Math.Min(block.Length, values.Length - i)).CopyTo(values.AsSpan(i));
        return Tensor.From(device, values, [s.B, s.T, s.H, s.D], type);
    }

    private static double ErrorRatio(float[] x, float[] y)
    {
        double difference = 0, norm = 0;
        for (var i = 0; i < x.Length; i++)
        {
            difference += (double)(x[i] - y[i]) * (x[i] - y[i]);
            norm += (double)y[i] * y[i];
        }
        return Math.Sqrt(difference / norm);
    }

    private static string Text((int B, int T, int H, int D) s) => $"B{s.B} T{s.T} H{s.H} D{s.D}";

    private static string? Value(string[] args, string name) => Array.IndexOf(args, name) is var i and >= 0 && i + 1 < args.Length ? args[i + 1] : null;

    private static void Write(object record) => Console.WriteLine(JsonSerializer.Serialize(record));
}
