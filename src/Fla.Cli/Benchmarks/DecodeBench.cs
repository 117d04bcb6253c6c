using System.Diagnostics;
using Fla.Models;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Cli.Benchmarks;

/// <summary>Milliseconds of a captured decoding step at batch 1, and what it consists of.</summary>
/// <param name="Token">From the submission until the host has the token.</param>
/// <param name="Device">Of a step among many that the device has at hand.</param>
/// <param name="Submit">Of the host, for the submission alone.</param>
/// <param name="Dispatches">Dispatches of a step.</param>
/// <param name="Barriers">Barriers of a step.</param>
internal readonly record struct DecodeBench(double Token, double Device, double Submit, long Dispatches, long Barriers)
{
    private const int Samples = 64;
    private const int Queued = 16;
    private const double WarmUpSeconds = 0.5;

    /// <summary>Measures the step after a prompt.</summary>
    /// <param name="model">The model.</param>
    /// <param name="prompt">Token ids.</param>
    /// <param name="profile">Where the kernels of a step are listed, or null.</param>
    public static DecodeBench Run(CausalLM model, int[] prompt, Terminal? profile)
    {
        using var off = Autograd.NoGrad();
        using var scope = model.Device.Scope();
        using var cache = model.NewCache();
        model.Forward(model.Tokens(prompt), new() { Cache = cache, LogitsToKeep = 1 });
        var next = model.Tokens([1]);
        var position = Tensor.FromInt32(model.Device, [prompt.Length], 1);
        Tensor Step() => Reductions.ArgMax(model.Forward(next, new() { Cache = cache, Offsets = position }).Logits!);
        var stream = model.Device.Stream;
        if (profile is not null) BenchRun.WriteKernels(model.Device, profile, () => Step());
        Tensor? likeliest = null;
        var (dispatches, barriers) = (stream.Dispatches, stream.Barriers);
        using var graph = stream.Capture(() => likeliest = Step());
        (dispatches, barriers) = (stream.Dispatches - dispatches, stream.Barriers - barriers);
        var clock = Stopwatch.StartNew();
        while (clock.Elapsed.TotalSeconds < WarmUpSeconds)
        {
            graph.Replay();
            likeliest!.ToInt32();
        }
        double[] tokens = new double[Samples], submits = new double[Samples], queued = new double[Samples];
        for (var i = 0; i < Samples; i++)
        {
            var start = Stopwatch.GetTimestamp();
            graph.Replay();
            submits[i] = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
            likeliest!.ToInt32();
            tokens[i] = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        }
        for (var i = 0; i < Samples; i++)
        {
            var start = Stopwatch.GetTimestamp();
            for (var k = 0; k < Queued; k++) graph.Replay();
            stream.Synchronize();
            queued[i] = Stopwatch.GetElapsedTime(start).TotalMilliseconds / Queued;
        }
        return new(Median(tokens), Median(queued), Median(submits), dispatches, barriers);
    }

    private static double Median(double[] times)
    {
        Array.Sort(times);
        return times[times.Length / 2];
    }
}
