using System.Diagnostics;
using Fla.Vulkan;

namespace Fla.Bench;

/// <summary>Times work on a device: captured once, replayed until the clocks have settled, then the median of many replays.</summary>
internal static class Timing
{
    private const double WarmUpSeconds = 0.5;
    private const int Samples = 30;
    private const double SampleSeconds = 0.01;
    private const double Agreement = 0.03;

    /// <summary>Milliseconds of one run of the work, and the spread of the samples as a fraction (80th less 20th percentile over the median).</summary>
    /// <param name="device">Where.</param>
    /// <param name="work">Work that can be captured.</param>
    public static (double Milliseconds, double Spread) Run(ComputeDevice device, Action work)
    {
        using (device.Scope()) work();
        using var scope = device.Scope();
        using var graph = device.Stream.Capture(work);
        device.Synchronize();
        var once = Once(device, graph, 1);
        var repeats = Math.Max(1, (int)(SampleSeconds / once));
        var clock = Stopwatch.StartNew();
        while (clock.Elapsed.TotalSeconds < WarmUpSeconds) Once(device, graph, repeats);
        var samples = Enumerable.Range(0, Samples).Select(_ => Once(device, graph, repeats)).Order().ToArray();
        var median = samples[Samples / 2];
        return (median * 1000, (samples[Samples * 4 / 5] - samples[Samples / 5]) / median);
    }

    /// <summary>Whether a time may be reported: two thirds of its samples agree.</summary>
    public static bool IsStable(double spread) => spread <= Agreement;

    /// <summary>Bytes a second of a device-to-device copy, read and written bytes counted.</summary>
    public static double CopyBandwidth(ComputeDevice device)
    {
        using var scope = device.Scope();
        var bytes = device.IsCpu ? 64 << 20 : 1 << 30;
        var from = Tensor.Zeros(device, DType.Float32, bytes / 4);
        var to = Tensor.Zeros(device, DType.Float32, bytes / 4);
        return 2.0 * bytes / (Run(device, () => to.CopyFrom(from)).Milliseconds / 1000);
    }

    private static double Once(ComputeDevice device, CommandGraph graph, int repeats)
    {
        var start = Stopwatch.GetTimestamp();
        for (var i = 0; i < repeats; i++) graph.Replay();
        device.Synchronize();
        return Stopwatch.GetElapsedTime(start).TotalSeconds / repeats;
    }
}
