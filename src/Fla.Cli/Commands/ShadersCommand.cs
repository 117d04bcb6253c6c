using System.CommandLine;
using System.Globalization;
using Fla.Vulkan;

namespace Fla.Cli.Commands;

/// <summary><c>fla shaders</c>: compiles every shader with a device's own compiler and prints its figures, as tab-separated lines.</summary>
internal static class ShadersCommand
{
    public static Command Create(Terminal terminal)
    {
        var filter = new Argument<string>("filter") { Description = "Part of the shader's name; all without it", DefaultValueFactory = _ => "" };
        var command = new Command("shaders", "Compiles every shader with the device's compiler; prints errors, registers and spills.") { filter };
        command.SetAction(parsed => FlaTool.Cancellable(cancel => Run(terminal, FlaTool.DeviceOptions(parsed), parsed.GetValue(filter)!, cancel)));
        return command;
    }

    private static int Run(Terminal terminal, DeviceOptions options, string filter, CancellationToken cancel)
    {
        using var device = ComputeDevice.Create(options with { PipelineCacheFolder = "" });
        terminal.Note($"{device.Name} ({device.Info.Driver})");
        var failed = 0;
        terminal.Writer.WriteLine("shader\tspills\tfigures");
        foreach (var key in ShaderReport.KeysFor(device).Where(k => k.Contains(filter, StringComparison.OrdinalIgnoreCase)))
        {
            cancel.ThrowIfCancellationRequested();
            var report = ShaderReport.Compile(device, key);
            if (report.Error != null) failed++;
            var figures = report.Error != null ? "error: " + report.Error
                : string.Join("; ", report.Statistics.Select(s => $"{s.Name}={s.Value.ToString(CultureInfo.InvariantCulture)}"));
            terminal.Writer.WriteLine($"{key}\t{report.Spills.ToString(CultureInfo.InvariantCulture)}\t{figures}");
        }
        terminal.Note(failed == 0 ? "every shader compiles" : $"{failed} shaders do not compile");
        return failed == 0 ? 0 : 1;
    }
}
