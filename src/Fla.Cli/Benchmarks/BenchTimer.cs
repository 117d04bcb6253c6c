using System.Diagnostics;
using Fla.Vulkan;

namespace Fla.Cli.Benchmarks;

/// <summary>Milliseconds of one run: the median and the 20th and 80th percentile of the samples.</summary>
internal readonly record struct BenchTime(double Median, double Low, double High)
{
    /// <summary>Distance of the percentiles over the median.</summary>
    public double Spread => (High - Low) / Median;
}

/// <summary>Times work on a device: captured once, replayed until the clocks have settled, then many samples.</summary>
internal static class BenchTimer
{
    private const double WarmUpSeconds = 0.5;
    private const int Samples = 30;
    private const double SampleSeconds = 0.01;
    private const double SubmissionSeconds = 0.001;
    private const int MostInSubmission = 16;

    /// <summary>Times work that can be captured. Short work stands in a submission several times, as it does in a model's: the gap between submissions is not its own.</summary>
    public static BenchTime Run(ComputeDevice device, Action work)
    {
        using (device.Scope()) work();
        using var scope = device.Scope();
        double once;
        using (var single = device.Stream.Capture(work))
        {
            single.Replay();
            device.Synchronize();
            once = Once(device, single.Replay, 4);
        }
        var count = (int)Math.Clamp(SubmissionSeconds / once, 1, MostInSubmission);
        using var graph = device.Stream.Capture(() =>
        {
            for (var i = 0; i < count; i++) using (device.Scope()) work();
        });
        var time = Sample(device, graph.Replay);
        return new(time.Median / count, time.Low / count, time.High / count);
    }

    /// <summary>Times work that uploads host data and is therefore recorded anew for each run.</summary>
    public static BenchTime RunUncaptured(ComputeDevice device, Action work) => Sample(device, () =>
    {
        using var scope = device.Scope();
        work();
    });

    private static BenchTime Sample(ComputeDevice device, Action submit)
    {
        submit();
        device.Synchronize();
        var repeats = Math.Max(1, (int)(SampleSeconds / Once(device, submit, 1)));
        var clock = Stopwatch.StartNew();
        while (clock.Elapsed.TotalSeconds < WarmUpSeconds) Once(device, submit, repeats);
        var samples = Enumerable.Range(0, Samples).Select(_ => 1000 * Once(device, submit, repeats)).Order().ToArray();
        return new(samples[Samples / 2], samples[Samples / 5], samples[Samples * 4 / 5]);
    }

    private static double Once(ComputeDevice device, Action submit, int repeats)
    {
        var start = Stopwatch.GetTimestamp();
        for (var i = 0; i < repeats; i++) submit();
        device.Synchronize();
        return Stopwatch.GetElapsedTime(start).TotalSeconds / repeats;
    }
}
