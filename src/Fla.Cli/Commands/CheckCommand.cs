using System.CommandLine;
using Fla.Layers;
using Fla.Models.Checking;
using Fla.Vulkan;
using Spectre.Console;

namespace Fla.Cli.Commands;

/// <summary><c>fla check</c>: proves a checkpoint on a device against what fla computed.</summary>
internal static class CheckCommand
{
    private static readonly Argument<string> Folder = ModelOptions.Folder("Folder with config.json (or layer.json), model.safetensors (or pytorch_model.bin) and expected.safetensors");
    private static readonly Option<DType?> Type = ModelOptions.Type("Float type of weights and activations (default: f32)");
    private static readonly Option<AttnMode?> Mode = ModelOptions.Mode();

    public static Command Create(Terminal terminal)
    {
        var command = new Command("check", "Runs a model or layer on inputs of a reference run and compares: error ratio = |x - y| / |y|.") { Folder, Type, Mode };
        command.SetAction(parsed =>
        {
            using var device = ComputeDevice.Create(FlaTool.DeviceOptions(parsed));
            var options = new CheckOptions { DType = parsed.GetValue(Type) ?? DType.Float32, Mode = parsed.GetValue(Mode) };
            var report = CheckRunner.Run(parsed.GetValue(Folder)!, device, options);
            Write(terminal, report, options, device);
            return report.IsOk ? 0 : 1;
        });
        return command;
    }

    private static void Write(Terminal terminal, CheckReport report, CheckOptions options, ComputeDevice device)
    {
        var table = Terminal.Table($"{report.Subject}, {options.DType.ShortName()}, {device.Name}", "Key", "Error ratio", "Tolerance", "", "");
        foreach (var row in report.Rows)
        {
            var verdict = !row.IsOk ? "[red]FAILED[/]" : row.IsJudged ? "[green]ok[/]" : "[yellow]not judged[/]";
            table.AddRow(Markup.Escape(row.Key), $"{row.Error:0.00e+00}", $"{row.Tolerance:0.00e+00}", verdict, Markup.Escape(row.Note));
        }
        terminal.Out.Write(table);
        if (report.Skipped.Count > 0) terminal.Say($"Not compared, being of no kind that is known: {string.Join(", ", report.Skipped)}");
        var failed = report.Rows.Count(row => !row.IsOk);
        var unjudged = report.Rows.Count(row => row.IsOk && !row.IsJudged);
        terminal.Say(report.Rows.Count == 0 ? "Nothing could be compared."
            : $"{report.Rows.Count - failed - unjudged} of {report.Rows.Count} within tolerance{(failed > 0 ? $", {failed} NOT" : "")}"
                + $"{(unjudged > 0 ? $", {unjudged} too sensitive to rounding to be judged in {options.DType.ShortName()}" : "")}.");
    }
}
