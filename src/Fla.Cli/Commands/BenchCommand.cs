using System.CommandLine;
using System.Globalization;
using Fla.Cli.Benchmarks;
using Fla.Cli.Plots;
using Fla.Vulkan;

namespace Fla.Cli.Commands;

/// <summary>
/// <c>fla bench</c>: times ops as fla's own runner does, over its shapes and in its table, beside what the device allows. No time is printed for an op
/// whose results at that shape are wrong.
/// </summary>
internal static class BenchCommand
{
    public static Command Create(Terminal terminal)
    {
        var ops = new Argument<string[]>("ops") { Description = "Names of ops, or all (default: all)", Arity = ArgumentArity.ZeroOrMore };
        var shapes = new Option<string[]>("--shape") { Description = "Shape B,T,H,D instead of fla's six; may be repeated", HelpName = "B,T,H,D" };
        var modes = new Option<string>("--modes") { Description = "fwd, fwdbwd or both", DefaultValueFactory = _ => "both" };
        modes.AcceptOnlyFromAmong("fwd", "fwdbwd", "both");
        var dtype = new Option<string?>("--dtype") { Description = "f32, f16 or bf16 (default: bf16; f32 on a CPU driver)" };
        dtype.AcceptOnlyFromAmong("f32", "f16", "bf16");
        var json = new Option<FileInfo?>("--json") { Description = "Writes the figures to a file", HelpName = "FILE" };
        var compare = new Option<FileInfo?>("--compare") { Description = "Shows an older --json file's times beside; exit status 1 past --slowdown", HelpName = "OLD.json" };
        var slowdown = new Option<double>("--slowdown") { Description = "Part by which an op may be slower than in --compare", DefaultValueFactory = _ => 0.05 };
        var plot = new Option<FileInfo?>("--plot") { Description = "Draws the figures", HelpName = "FILE.png" };
        var profile = new Option<bool>("--profile") { Description = "Also the time of every kernel of one forward and backward; with --model, of a decoding step" };
        var roof = new Option<bool>("--roof") { Description = "Only what the device itself can do: copies, tile products and the steps they are made of" };
        var model = new Option<string?>("--model") { Description = $"Only a model with random weights, reading, decoding and training: {ModelBench.Names}" };
        var prompt = new Option<int>("--prompt") { Description = "Tokens of the prompt and of a training step, with --model", DefaultValueFactory = _ => 8192 };
        var list = new Option<bool>("--list") { Description = "Only the names of the ops" };
        var command = new Command("bench", "Times operators and models beside what the device allows.") { ops, shapes, modes, dtype, json, compare, slowdown, plot, profile, roof, model, prompt, list };
        command.SetAction(parsed => FlaTool.Cancellable(cancel =>
        {
            if (parsed.GetValue(list))
            {
                foreach (var op in BenchRegistry.All) terminal.Say(op.Name);
                return 0;
            }
            using var device = ComputeDevice.Create(FlaTool.DeviceOptions(parsed));
            var type = parsed.GetValue(dtype) is { } name ? DTypes.Parse(name) : device.IsCpu ? DType.Float32 : DType.BFloat16;
            if (parsed.GetValue(roof)) return BenchVerbs.Write(terminal, device, type, cancel);
            if (parsed.GetValue(model) is { } named) return ModelBench.Write(terminal, device, type, named, parsed.GetValue(prompt), parsed.GetValue(profile), cancel);
            var run = new BenchRun(device, type, parsed.GetValue(modes)!, parsed.GetValue(profile));
            return Run(terminal, run, BenchRegistry.Find(parsed.GetValue(ops)!), (parsed.GetValue(shapes) ?? []).Select(BenchShape.Parse).ToArray(),
                new(parsed.GetValue(json), parsed.GetValue(compare), parsed.GetValue(slowdown), parsed.GetValue(plot)), cancel);
        }));
        return command;
    }

    private sealed record Files(FileInfo? Json, FileInfo? Compare, double Slowdown, FileInfo? Plot);

    private static int Run(Terminal terminal, BenchRun run, BenchOp[] ops, BenchShape[] shapes, Files files, CancellationToken cancel)
    {
        var old = files.Compare is { } file ? BenchReport.Load(file.FullName) : null;
        foreach (var note in run.Device.Tiles.Notes) terminal.Note(note);
        terminal.Note($"{run.Device.Name}: measuring what it can do");
        var roofs = BenchRoofs.Measure(run.Device, run.Type);
        var rows = new List<BenchRow>();
        var wrong = 0;
        foreach (var op in ops)
        {
            foreach (var shape in (shapes.Length > 0 ? shapes : op.Shapes(run.Device.IsCpu)).Where(op.Takes))
            {
                cancel.ThrowIfCancellationRequested();
                terminal.Note($"{op.Name} {shape}");
                if (run.Measure(terminal, op, shape, roofs, rows)) continue;
                wrong++;
            }
        }
        var report = new BenchReport(roofs.Describe(run.Device, run.Type), rows);
        if (rows.Count > 0) BenchTable.Write(terminal, report, old);
        if (files.Json is { } json) report.Save(json.FullName);
        if (files.Plot is { } plot && rows.Count > 0) BenchPlot.Save(plot.FullName, report);
        if (wrong > 0) terminal.Fail($"{wrong} results are wrong: no time is given for them");
        var slower = old is null ? 0 : CountSlower(terminal, report, old, files.Slowdown);
        return wrong + slower == 0 ? 0 : 1;
    }

    private static int CountSlower(Terminal terminal, BenchReport now, BenchReport old, double allowed)
    {
        if (old.Machine.Device != now.Machine.Device) terminal.Note($"the older figures are of another device: {old.Machine.Device}");
        var before = old.Results.ToDictionary(r => r.Key);
        var slower = now.Results.Where(r => before.TryGetValue(r.Key, out var then) && r.MedianMs > then.MedianMs * (1 + allowed)).ToList();
        foreach (var row in slower)
        {
            var part = row.MedianMs / before[row.Key].MedianMs - 1;
            terminal.Fail(string.Create(CultureInfo.InvariantCulture, $"{row.Op} {row.Mode} B{row.B} T{row.T} H{row.H} D{row.D} is {part:0.0%} slower than before"));
        }
        return slower.Count;
    }
}
