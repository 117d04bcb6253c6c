using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Fla.Cli.Benchmarks;
using Fla.Cli.Tuning;
using Fla.Vulkan;
using Spectre.Console;

namespace Fla.Cli.Commands;

/// <summary><c>fla tune</c>: searches the tile choices of kernels for some ops and shapes, and writes a file that the library reads from then on.</summary>
internal static class TuneCommand
{
    private static readonly string[] DefaultOps = ["chunk_retention", "chunk_simple_gla", "chunk_gla", "chunk_gdn", "chunk_kda", "chunk_rwkv7", "linear", "rms_norm"];

    public static Command Create(Terminal terminal)
    {
        var ops = new Argument<string[]>("ops") { Description = $"Names of ops as in fla bench (default: {string.Join(", ", DefaultOps)})", Arity = ArgumentArity.ZeroOrMore };
        var shapes = new Option<string[]>("--shape") { Description = "Shape B,T,H,D; may be repeated (default: one that suits the device)", HelpName = "B,T,H,D" };
        var dtype = new Option<string?>("--dtype") { Description = "f32, f16 or bf16 (default: bf16; f32 on a CPU driver)" };
        dtype.AcceptOnlyFromAmong("f32", "f16", "bf16");
        var budget = new Option<double>("--budget") { Description = "Seconds after which the search takes what it has", DefaultValueFactory = _ => 300, HelpName = "S" };
        var output = new Option<FileInfo?>("--output", "-o") { Description = $"The file (default: {TileFile.UserPath}; another is read where FLA_TILES names it)", HelpName = "FILE" };
        var dryRun = new Option<bool>("--dry-run") { Description = "Only lists what would be tried" };
        var show = new Option<bool>("--show") { Description = "Only shows the choices in use" };
        var figures = new Option<bool>("--figures") { Description = "Only what the device's compiler tells of each choice: registers, spills, occupancy; nothing is run" };
        var command = new Command("tune", "Searches the sizes of kernels' tiles on this device; built-in ones stand without it.") { ops, shapes, dtype, budget, output, dryRun, show, figures };
        command.SetAction(parsed => FlaTool.Cancellable(cancel =>
        {
            if (parsed.GetValue(show)) return Show(terminal, FlaTool.DeviceOptions(parsed));
            var path = parsed.GetValue(output)?.FullName ?? TileFile.UserPath;
            var file = File.Exists(path) ? TileFile.Load(path) : new(TileFile.Current, []);
            using var device = ComputeDevice.Create(FlaTool.DeviceOptions(parsed) with { TileFile = "", PipelineCacheFolder = "" });
            var type = parsed.GetValue(dtype) is { } name ? DTypes.Parse(name) : device.IsCpu ? DType.Float32 : DType.BFloat16;
            var cases = Cases(device, parsed.GetValue(ops)!, parsed.GetValue(shapes) ?? []);
            if (parsed.GetValue(dryRun)) return List(terminal, device, type, cases);
            if (parsed.GetValue(figures)) return WriteFigures(terminal, device, type, cases, cancel);
            return Search(terminal, new(device, type, TimeSpan.FromSeconds(parsed.GetValue(budget)), cancel), device, type, cases, file, path);
        }));
        return command;
    }

    private static List<TuneCase> Cases(ComputeDevice device, string[] names, string[] shapes)
    {
        var named = shapes.Select(BenchShape.Parse).ToArray();
        return (from op in BenchRegistry.Find(names.Length > 0 ? names : DefaultOps)
                from shape in named.Length > 0 ? named : op is SequenceOp or RowOp ? [device.IsCpu ? new(1, 256, 2, 64) : new(4, 2048, 16, 128)] : op.Shapes(device.IsCpu)[..1]
                where op.Takes(shape)
                select new TuneCase(op, shape)).ToList();
    }

    private static int Show(Terminal terminal, DeviceOptions options)
    {
        using var device = ComputeDevice.Create(options);
        var builtIn = TileTable.BuiltIn(device.Info);
        var table = Terminal.Table($"{device.Name}: {device.Tiles.Name}", "Kernel", "Cooperative matrices", "Plain arithmetic");
        string Text(TileChoice choice, TileChoice usual) => choice == usual ? $"{choice}" : $"{choice} (built in: {usual})";
        foreach (var row in device.Tiles)
        {
            table.AddRow(Markup.Escape(row.Kernel), Markup.Escape(Text(row.Matrix, builtIn[row.Kernel, true])), Markup.Escape(Text(row.Plain, builtIn[row.Kernel, false])));
        }
        terminal.Out.Write(table);
        foreach (var note in device.Tiles.Notes) terminal.Note(note);
        return 0;
    }

    private static int List(Terminal terminal, ComputeDevice device, DType type, List<TuneCase> cases)
    {
        var table = Terminal.Table($"{device.Name}, {type.ShortName()}", "Op", "Kernel", "Choices", "Built in");
        foreach (var one in cases)
        {
            foreach (var (kernel, choices) in one.Kernels(device, type)) table.AddRow($"{one}", kernel.Name, $"{choices.Count}", $"{choices[0]}");
        }
        terminal.Out.Write(table);
        return 0;
    }

    private static int WriteFigures(Terminal terminal, ComputeDevice device, DType type, List<TuneCase> cases, CancellationToken cancel)
    {
        var builtIn = device.Tiles;
        terminal.Note($"{device.Name} ({device.Info.Driver})");
        terminal.Writer.WriteLine("kernel\tchoice\tpipeline\tfigures");
        foreach (var one in cases)
        {
            foreach (var (kernel, choices) in one.Kernels(device, type))
            {
                foreach (var choice in choices)
                {
                    cancel.ThrowIfCancellationRequested();
                    device.Tiles = builtIn.With(kernel.Name, kernel.IsMatrix(device, type), choice);
                    foreach (var report in ShaderReport.Compile(device, () => one.Go(device, type), kernel.Has))
                    {
                        var text = report.Error ?? string.Join("; ", report.Statistics.Select(s => $"{s.Name}={s.Value.ToString(CultureInfo.InvariantCulture)}"));
                        terminal.Writer.WriteLine($"{kernel.Name}\t{choice}\t{report.Key}\t{text}");
                    }
                }
                device.Tiles = builtIn;
            }
        }
        return 0;
    }

    private static int Search(Terminal terminal, Tuner tuner, ComputeDevice device, DType type, List<TuneCase> cases, TileFile file, string path)
    {
        IReadOnlyList<TuneResult> results = [];
        Watch(terminal, status => results = tuner.Run(cases, status));
        foreach (var wrong in tuner.Wrong) terminal.Fail($"{wrong}: not taken");
        if (tuner.IsCutShort) terminal.Note("the time ran out before every choice was tried: --budget gives more");
        var table = Terminal.Table($"{device.Name}, {device.Info.Driver}, {type.ShortName()}", "Kernel", "Built in", "Best", "Time");
        foreach (var r in results) table.AddRow(r.Kernel.Name, $"{r.Before}", r.Best == r.Before ? "the same" : $"{r.Best}", r.Ratio.ToString("0%", CultureInfo.InvariantCulture));
        terminal.Out.Write(table);
        var changed = results.Where(r => r.Best != r.Before).ToList();
        if (changed.Count > 0)
        {
            var (before, after) = (device.Tiles, tuner.With(changed));
            foreach (var one in cases)
            {
                var (was, now) = (tuner.Confirm(one, before), tuner.Confirm(one, after));
                terminal.Say(string.Create(CultureInfo.InvariantCulture, $"{one}: {was:0.000} ms before, {now:0.000} ms with all of them"));
            }
        }
        var choices = results.Select(r => new TileFileChoice(r.Kernel.Name, r.Kernel.IsMatrix(device, type) ? "matrix" : "plain", r.Best.Workgroup, r.Best.Slice, r.Best.Rows, r.Best.Columns));
        file.With(device.Name, device.Info.Driver, choices.ToList()).Save(path);
        terminal.Say(changed.Count > 0 ? $"written to {path}" : $"the built-in choices are the best; written to {path}");
        return 0;
    }

    private static void Watch(Terminal terminal, Action<Action<TuneStatus>> work)
    {
        if (!terminal.IsInteractive)
        {
            var clock = Stopwatch.StartNew();
            work(status =>
            {
                if (clock.Elapsed.TotalSeconds < 10) return;
                clock.Restart();
                terminal.Note(string.Create(CultureInfo.InvariantCulture, $"{status.Done:0%} {status.What}"));
            });
            return;
        }
        terminal.Error.Progress().Columns(new ProgressBarColumn(), new PercentageColumn(), new TaskDescriptionColumn { Alignment = Justify.Left }).Start(context =>
        {
            var task = context.AddTask("warming up", maxValue: 1);
            work(status =>
            {
                task.Value = status.Done;
                task.Description = Markup.Escape(status.What);
            });
            task.Value = 1;
        });
    }
}
