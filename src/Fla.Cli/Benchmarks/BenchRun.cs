using System.Globalization;
using Fla.Vulkan;

namespace Fla.Cli.Benchmarks;

/// <summary>Measures ops on a device: first the check, then the times.</summary>
/// <param name="Device">Where.</param>
/// <param name="Type">Storage type of the tensors.</param>
/// <param name="Modes">fwd, fwdbwd or both.</param>
/// <param name="Profile">Whether to list the kernels of a step.</param>
internal sealed record BenchRun(ComputeDevice Device, DType Type, string Modes, bool Profile)
{
    private const int ProfiledSteps = 5;

    /// <summary>Relative error that a storage type's rounding explains.</summary>
    public static double Tolerance(DType type) => type switch { DType.Float32 => 1e-4, DType.Float16 => 1e-2, _ => 3e-2 };

    /// <summary>Adds the rows of one op at one shape; false where its results are wrong.</summary>
    public bool Measure(Terminal terminal, BenchOp op, BenchShape shape, BenchRoofs roofs, List<BenchRow> rows)
    {
        using var scope = Device.Scope();
        var made = op.Make(Device, Type, shape);
        double error;
        using (Device.Scope()) error = made.Error();
        if (!(error <= Tolerance(Type)))
        {
            terminal.Fail(string.Create(CultureInfo.InvariantCulture, $"{op.Name} {shape}: relative error {error:g3}, allowed is {Tolerance(Type):g3}"));
            return false;
        }
        if (Modes != "fwdbwd") rows.Add(Row(op, shape, "fwd", BenchTimer.Run(Device, made.RunForward), made.Forward, roofs, error));
        if (Modes != "fwd" && made.Gradient is not null) rows.Add(Row(op, shape, "fwdbwd", BenchTimer.Run(Device, made.Step), made.Both, roofs, error));
        if (Profile) WriteKernels(Device, terminal, Modes == "fwd" ? made.RunForward : made.Whole);
        return true;
    }

    private BenchRow Row(BenchOp op, BenchShape s, string mode, BenchTime time, Work work, BenchRoofs roofs, double error) =>
        new(op.Name, mode, s.B, s.T, s.H, s.D, Type.ShortName(), time.Median, time.Low, time.High, work.Bytes / time.Median / 1e6, work.Flops / time.Median / 1e9,
            roofs.Floor(work) / time.Median, error);

    /// <summary>Lists the kernels of a step, the mean of some.</summary>
    internal static void WriteKernels(ComputeDevice device, Terminal terminal, Action step)
    {
        using var times = device.Stream.StartProfile();
        for (var i = 0; i < ProfiledSteps; i++) using (device.Scope()) step();
        times.Stop();
        foreach (var (kernel, total, count) in times.Totals())
        {
            terminal.Say(string.Create(CultureInfo.InvariantCulture, $"    {total / ProfiledSteps / 1e6,9:0.0000} ms  {count / ProfiledSteps} x {kernel}"));
        }
    }
}
