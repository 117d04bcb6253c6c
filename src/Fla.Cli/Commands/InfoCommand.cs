using System.CommandLine;
using Fla.Vulkan;
using Spectre.Console;

namespace Fla.Cli.Commands;

/// <summary><c>fla info</c>: what is on this machine, what this library makes of it, and why.</summary>
internal static class InfoCommand
{
    private static readonly (string Name, string Meaning)[] Switches =
    [
        ("FLA_DEVICE", "device: index, cpu, discrete, integrated, or part of the name"),
        ("FLA_DISABLE", "features to leave unused: cooperative_matrix, bfloat16_matrix, float16, memory_budget, external_memory_host, mapped_memory"),
        ("FLA_POISON", "1: fresh memory is NaN, allocations stand between sentinels"),
        ("FLA_VALIDATION", "1: the Vulkan validation layers"),
        ("FLA_PIPELINE_CACHE", "folder of the pipeline cache; empty: none"),
        ("FLA_TILES", "file of tile choices in place of the one that fla tune writes; empty: the built-in ones"),
        ("FLA_TRACE", "1: errors of this tool keep their stack trace"),
    ];

    public static Command Create(Terminal terminal)
    {
        var command = new Command("info", "Shows devices, drivers, features, limits, memory, the paths chosen and why.");
        command.SetAction(parsed => Run(terminal, FlaTool.DeviceOptions(parsed)));
        return command;
    }

    private static int Run(Terminal terminal, DeviceOptions options)
    {
        var all = DeviceInfo.All(options);
        ComputeDevice device;
        try
        {
            device = ComputeDevice.Create(options);
        }
        catch (DeviceException)
        {
            WriteDevices(terminal, all, null);
            throw;
        }
        using var chosen = device;
        WriteDevices(terminal, all, chosen);
        foreach (var info in all) WriteDevice(terminal, info, chosen);
        WriteShaders(terminal);
        WriteKnownBadDrivers(terminal);
        WriteSwitches(terminal);
        return 0;
    }

    private static void WriteDevices(Terminal terminal, IReadOnlyList<DeviceInfo> all, ComputeDevice? chosen)
    {
        var table = Terminal.Table("Devices", "", "Name", "Kind", "Driver", "Vulkan", "Usable");
        foreach (var d in all)
        {
            Row(table, d.Index == chosen?.Info.Index ? $"{d.Index} *" : $"{d.Index}", d.Name, $"{d.Kind}", d.Driver, $"{d.ApiVersion}",
                d.Usable ? "yes" : "lacks " + string.Join(", ", d.Missing));
        }
        terminal.Out.Write(table);
        var choice = chosen?.Options.Select is { Length: > 0 } select ? $"selected by '{select}'" : "the first usable in the order discrete, integrated, virtual, CPU";
        if (chosen != null) terminal.Say($"* is used: {choice}");
        terminal.Say();
    }

    private static void WriteDevice(Terminal terminal, DeviceInfo d, ComputeDevice chosen)
    {
        var isChosen = d.Index == chosen.Info.Index;
        var table = Terminal.Table($"{d.Index}: {d.Name}", "", "");
        table.HideHeaders();
        var (f, l) = (d.Features, d.Limits);
        Row(table, "f32", "plain arithmetic (loses no precision)");
        Row(table, "f16", Path(f.MatrixFloat16));
        Row(table, "bf16", Path(f.MatrixBFloat16));
        foreach (var note in f.Notes) Row(table, "because", note);
        Row(table, "fp16 arithmetic", YesNo(f.Float16));
        Row(table, "memory budget, host import", $"{YesNo(f.MemoryBudget)}, {YesNo(f.ExternalMemoryHost)}");
        Row(table, "pipeline statistics", YesNo(f.PipelineStatistics));
        Row(table, "subgroup", $"{l.SubgroupSize} (the device has {l.MinSubgroupSize} to {l.MaxSubgroupSize})");
        Row(table, "workgroup", $"{l.WorkgroupInvocations} invocations, {Bytes(l.SharedMemory)} of shared memory, {l.WorkgroupsX} in x");
        Row(table, "push constants", $"{l.PushConstants} bytes");
        Row(table, "largest allocation, buffer", $"{Bytes(l.MaxAllocation)}, {Bytes(l.MaxBuffer)}");
        Row(table, "timestamps", l.TimestampPeriod > 0 ? $"one tick is {l.TimestampPeriod:0.###} ns" : "none");
        if (isChosen) foreach (var text in chosen.Tiles.Notes.Prepend(chosen.Tiles.Name)) Row(table, "tile choices", text);
        foreach (var heap in d.Heaps)
        {
            var free = heap.Free < 0 ? "" : $", {Bytes((ulong)heap.Free)} free";
            Row(table, heap.DeviceLocal ? "device memory" : "host memory", $"{Bytes((ulong)heap.Size)}{free}");
        }
        if (isChosen) Row(table, "loops", chosen.IsCpu ? "rolled: a CPU driver takes minutes to compile unrolled kernels" : "unrolled");
        terminal.Out.Write(table);
        terminal.Say();
    }

    private static void WriteShaders(Terminal terminal)
    {
        var table = Terminal.Table("Shaders of this build", "Family", "Shaders", "Variants", "of these cooperative matrix");
        var keys = ShaderLibrary.Keys.GroupBy(k => k.Split('/')[0]).OrderBy(g => g.Key, StringComparer.Ordinal);
        foreach (var family in keys)
        {
            Row(table, family.Key, $"{family.Select(k => k.Split('[')[0]).Distinct().Count()}", $"{family.Count()}", $"{family.Count(IsMatrix)}");
        }
        terminal.Out.Write(table);
        if (!ShaderLibrary.HasCooperativeMatrix) terminal.Say("The build's glslc knew no cooperative matrices: every device takes the plain path.");
        terminal.Say();
    }

    private static void WriteKnownBadDrivers(Terminal terminal)
    {
        var table = Terminal.Table("Known bad drivers", "Where", "Not used", "Why");
        foreach (var bad in KnownBadDrivers.Table) Row(table, bad.Where, bad.Feature, bad.Why);
        terminal.Out.Write(table);
        terminal.Say();
    }

    private static void WriteSwitches(Terminal terminal)
    {
        var table = Terminal.Table("Environment", "Variable", "Now", "Meaning");
        foreach (var (name, meaning) in Switches) Row(table, name, Environment.GetEnvironmentVariable(name) ?? "-", meaning);
        terminal.Out.Write(table);
    }

    private static bool IsMatrix(string key) => key.Contains("MM=coopmat", StringComparison.Ordinal);

    private static string Path(MatrixShape? shape) => (shape, ShaderLibrary.HasCooperativeMatrix) switch
    {
        (null, _) => "plain arithmetic",
        (_, false) => "plain arithmetic: the build has no cooperative-matrix shaders",
        var (s, _) => $"cooperative matrices of {s}, fp32 accumulators",
    };

    private static string YesNo(bool has) => has ? "yes" : "no";

    private static string Bytes(double count)
    {
        string[] units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        var unit = 0;
        for (; count >= 1024 && unit < units.Length - 1; unit++) count /= 1024;
        return $"{count:0.##} {units[unit]}";
    }

    private static void Row(Table table, params string[] cells) => table.AddRow(cells.Select(Markup.Escape).ToArray());
}
