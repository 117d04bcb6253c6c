using System.CommandLine;
using System.Globalization;
using Fla.Cli.Benchmarks;
using Fla.Cli.Tuning;
using Fla.Vulkan;

namespace Fla.Cli.Commands;

/// <summary><c>fla shaders</c>: compiles every shader with a device's own compiler and prints its figures, as tab-separated lines.</summary>
internal static class ShadersCommand
{
    public static Command Create(Terminal terminal)
    {
        var filter = new Argument<string>("filter") { Description = "Part of the shader's name; all without it", DefaultValueFactory = _ => "" };
        var op = new Option<string?>("--op") { Description = "Only the pipelines of an op of fla bench, forward and backward, cut as they are on this device", HelpName = "NAME" };
        var shape = new Option<string>("--shape") { Description = "Its shape", DefaultValueFactory = _ => "4,2048,16,128", HelpName = "B,T,H,D" };
        var dtype = new Option<string>("--dtype") { Description = "Its storage type: f32, f16 or bf16", DefaultValueFactory = _ => "f16" };
        dtype.AcceptOnlyFromAmong("f32", "f16", "bf16");
        var command = new Command("shaders", "Compiles every shader with the device's compiler; prints errors, registers and spills.") { filter, op, shape, dtype };
        command.SetAction(parsed => FlaTool.Cancellable(cancel =>
        {
            using var device = ComputeDevice.Create(FlaTool.DeviceOptions(parsed) with { PipelineCacheFolder = "" });
            bool IsWanted(string key) => key.Contains(parsed.GetValue(filter)!, StringComparison.OrdinalIgnoreCase);
            var reports = parsed.GetValue(op) is { } name
                ? OfOp(device, new(BenchRegistry.Find([name])[0], BenchShape.Parse(parsed.GetValue(shape)!)), DTypes.Parse(parsed.GetValue(dtype)!), IsWanted)
                : ShaderReport.KeysFor(device).Where(IsWanted).Select(key => ShaderReport.Compile(device, key));
            return Run(terminal, device, reports, cancel);
        }));
        return command;
    }

    private static IReadOnlyList<ShaderReport> OfOp(ComputeDevice device, TuneCase one, DType type, Func<string, bool> wanted) =>
        ShaderReport.Compile(device, () => one.Go(device, type), wanted);

    private static int Run(Terminal terminal, ComputeDevice device, IEnumerable<ShaderReport> reports, CancellationToken cancel)
    {
        terminal.Note($"{device.Name} ({device.Info.Driver})");
        var failed = 0;
        terminal.Writer.WriteLine("shader\tspills\tfigures");
        foreach (var report in reports)
        {
            cancel.ThrowIfCancellationRequested();
            if (report.Error != null) failed++;
            var figures = report.Error != null ? "error: " + report.Error
                : string.Join("; ", report.Statistics.Select(s => $"{s.Name}={s.Value.ToString(CultureInfo.InvariantCulture)}"));
            terminal.Writer.WriteLine($"{report.Key}\t{report.Spills.ToString(CultureInfo.InvariantCulture)}\t{figures}");
        }
        terminal.Note(failed == 0 ? "every shader compiles" : $"{failed} shaders do not compile");
        return failed == 0 ? 0 : 1;
    }
}
