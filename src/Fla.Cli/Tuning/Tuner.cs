using System.Diagnostics;
using Fla.Cli.Benchmarks;
using Fla.Vulkan;

namespace Fla.Cli.Tuning;

/// <summary>An op at a shape, for whose sake kernels are tuned.</summary>
internal readonly record struct TuneCase(BenchOp Op, BenchShape Shape)
{
    public override string ToString() => $"{Op.Name} {Shape}";

    /// <summary>Makes its tensors and runs it once, forward and backward.</summary>
    public void Go(ComputeDevice device, DType type)
    {
        using var scope = device.Scope();
        Op.Make(device, type, Shape).Whole();
    }

    /// <summary>The pipelines that it launches, forward and backward, cut as the device's table says; nothing is run.</summary>
    public IReadOnlyList<string> Pipelines(ComputeDevice device, DType type)
    {
        var one = this;
        return device.Stream.PipelinesOf(() => one.Go(device, type)).Select(p => $"{p.Key} [{string.Join(',', p.Spec)}]").ToList();
    }

    /// <summary>The tiled kernels among them, with the choices that make a difference to this case, the device's own first.</summary>
    public IReadOnlyList<(TiledKernel Kernel, IReadOnlyList<TileChoice> Choices)> Kernels(ComputeDevice device, DType type)
    {
        var (own, found) = (device.Tiles, new List<(TiledKernel, IReadOnlyList<TileChoice>)>());
        var pipelines = Pipelines(device, type);
        foreach (var kernel in TiledKernel.All.Where(k => pipelines.Any(k.Has)))
        {
            var isMatrix = kernel.IsMatrix(device, type);
            var (first, seen, choices) = (own[kernel.Name, isMatrix], new HashSet<string>(), new List<TileChoice>());
            foreach (var choice in kernel.Choices.OrderByDescending(c => c == first))
            {
                device.Tiles = own.With(kernel.Name, isMatrix, choice);
                if (seen.Add(string.Join('\n', Pipelines(device, type)))) choices.Add(choice);
            }
            device.Tiles = own;
            if (choices.Count > 1) found.Add((kernel, choices));
        }
        return found;
    }
}

/// <summary>What was found for a kernel.</summary>
/// <param name="Kernel">The kernel.</param>
/// <param name="Before">The built-in choice.</param>
/// <param name="Best">The best one.</param>
/// <param name="Ratio">Its time over the built-in one's, a geometric mean over the cases.</param>
internal sealed record TuneResult(TiledKernel Kernel, TileChoice Before, TileChoice Best, double Ratio);

/// <summary>How far the search is.</summary>
/// <param name="Done">Part that is done, of choices or of the time given, whichever is farther.</param>
/// <param name="What">What is being tried.</param>
internal readonly record struct TuneStatus(double Done, string What);

/// <summary>
/// Tries every choice of every tiled kernel of some cases, one kernel at a time, and keeps the fastest. A choice whose results are wrong, or that the device cannot
/// run, is none. The time is the kernel's own: the median of samples by the device's clock, after a warm-up.
/// </summary>
/// <param name="device">Where; opened with the built-in table.</param>
/// <param name="type">Storage type.</param>
/// <param name="budget">When to stop and take what there is.</param>
/// <param name="cancel">Stops without a result.</param>
internal sealed class Tuner(ComputeDevice device, DType type, TimeSpan budget, CancellationToken cancel)
{
    private const int Samples = 9;
    private const double SampleSeconds = 0.003;
    private const double WarmUpSeconds = 0.1;
    private const double ClockSeconds = 0.5;

    /// <summary>A gain below this is noise.</summary>
    private const double LeastGain = 0.03;

    private readonly TileTable _builtIn = device.Tiles;
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private readonly Dictionary<TiledKernel, Dictionary<TileChoice, List<double>>> _times = [];

    /// <summary>True when the time given ran out before every choice was tried.</summary>
    public bool IsCutShort { get; private set; }

    /// <summary>Choices that gave wrong results, with the error.</summary>
    public List<string> Wrong { get; } = [];

    /// <summary>Runs the search; the device has the built-in table afterwards.</summary>
    /// <param name="cases">For whose sake.</param>
    /// <param name="status">Called before each choice.</param>
    /// <exception cref="FlaException">A case is wrong already with the built-in choices.</exception>
    public IReadOnlyList<TuneResult> Run(IReadOnlyList<TuneCase> cases, Action<TuneStatus> status)
    {
        var all = cases.Select(c => (Case: c, Kernels: c.Kernels(device, type))).ToList();
        var (done, count) = (0, Math.Max(1, all.Sum(c => c.Kernels.Sum(k => k.Choices.Count))));
        try
        {
            foreach (var (one, kernels) in all)
            {
                using var scope = device.Scope();
                device.Tiles = _builtIn;
                var made = one.Op.Make(device, type, one.Shape);
                if (Error(made) is var error && !(error <= BenchRun.Tolerance(type))) throw new FlaException($"{one} is wrong with the built-in choices: relative error {error:g3}");
                Repeat(made, ClockSeconds);
                foreach (var (kernel, choices) in kernels)
                {
                    foreach (var choice in choices)
                    {
                        cancel.ThrowIfCancellationRequested();
                        if (_clock.Elapsed > budget)
                        {
                            IsCutShort = true;
                            return Results();
                        }
                        status(new(Math.Max((double)done++ / count, _clock.Elapsed / budget), $"{one}: {kernel.Name}, {choice}"));
                        Try(made, one, kernel, choice);
                    }
                }
            }
            return Results();
        }
        finally
        {
            device.Tiles = _builtIn;
        }
    }

    /// <summary>The built-in table with what was found.</summary>
    public TileTable With(IEnumerable<TuneResult> results) =>
        results.Aggregate(_builtIn, (table, r) => table.With(r.Kernel.Name, r.Kernel.IsMatrix(device, type), r.Best));

    /// <summary>Milliseconds of all of a case under a table, forward and backward.</summary>
    /// <exception cref="FlaException">Its results are wrong.</exception>
    public double Confirm(TuneCase one, TileTable table)
    {
        device.Tiles = table;
        try
        {
            using var scope = device.Scope();
            var made = one.Op.Make(device, type, one.Shape);
            if (Error(made) is var error && !(error <= BenchRun.Tolerance(type))) throw new FlaException($"{one} is wrong with these choices together: relative error {error:g3}");
            return BenchTimer.Run(device, made.Whole).Median;
        }
        finally
        {
            device.Tiles = _builtIn;
        }
    }

    private TileChoice BuiltIn(TiledKernel kernel) => _builtIn[kernel.Name, kernel.IsMatrix(device, type)];

    private double Error(BenchCase made)
    {
        using var scope = device.Scope();
        return made.Error();
    }

    private void Try(BenchCase made, TuneCase one, TiledKernel kernel, TileChoice choice)
    {
        device.Tiles = _builtIn.With(kernel.Name, kernel.IsMatrix(device, type), choice);
        try
        {
            if (Error(made) is var error && !(error <= BenchRun.Tolerance(type)))
            {
                Wrong.Add(FormattableString.Invariant($"{one}: {kernel.Name} with {choice}: relative error {error:g3}"));
                return;
            }
        }
        catch (ShaderException)
        {
            return;         // more shared memory or invocations than the device has
        }
        if (!_times.TryGetValue(kernel, out var choices)) _times.Add(kernel, choices = []);
        if (!choices.TryGetValue(choice, out var times)) choices.Add(choice, times = []);
        times.Add(Time(made, kernel));
    }

    private double Time(BenchCase made, TiledKernel kernel)
    {
        var repeats = Math.Max(1, (int)(SampleSeconds / Repeat(made, WarmUpSeconds)));
        var samples = new double[Samples];
        for (var i = 0; i < Samples; i++)
        {
            using var profile = device.Stream.StartProfile();
            for (var r = 0; r < repeats; r++) using (device.Scope()) made.Whole();
            profile.Stop();
            samples[i] = profile.Entries.Where(e => kernel.Has(e.Kernel)).Sum(e => e.Duration) / repeats;
        }
        Array.Sort(samples);
        return samples[Samples / 2];
    }

    /// <summary>Runs a case for a time; gives the seconds of one run.</summary>
    private double Repeat(BenchCase made, double seconds)
    {
        var start = Stopwatch.GetTimestamp();
        var runs = 0;
        do
        {
            using var scope = device.Scope();
            made.Whole();
            device.Synchronize();
            runs++;
        }
        while (Stopwatch.GetElapsedTime(start).TotalSeconds < seconds);
        return Stopwatch.GetElapsedTime(start).TotalSeconds / runs;
    }

    /// <summary>The best of the choices that were timed in every case in which the built-in one was.</summary>
    private List<TuneResult> Results() => _times.Where(k => k.Value.ContainsKey(BuiltIn(k.Key))).Select(k =>
    {
        var before = k.Value[BuiltIn(k.Key)];
        double Ratio(List<double> times) => Math.Exp(times.Zip(before, (t, b) => Math.Log(t / b)).Average());
        var best = k.Value.Where(c => c.Value.Count == before.Count).MinBy(c => Ratio(c.Value));
        var ratio = Ratio(best.Value);
        return ratio < 1 - LeastGain ? new TuneResult(k.Key, BuiltIn(k.Key), best.Key, ratio) : new(k.Key, BuiltIn(k.Key), BuiltIn(k.Key), 1);
    }).ToList();
}
