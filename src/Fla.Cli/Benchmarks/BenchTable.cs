using System.Globalization;

namespace Fla.Cli.Benchmarks;

/// <summary>The table of fla's runner: a block for each mode, the sizes once for each shape, then what the device made of it.</summary>
internal static class BenchTable
{
    private const string Indent = "          ";
    private const int LeastName = 28;

    /// <summary>Writes all rows, with an older run's times beside them where there is one.</summary>
    public static void Write(Terminal terminal, BenchReport report, BenchReport? old)
    {
        var before = old?.Results.ToDictionary(r => r.Key);
        var width = Math.Max(LeastName, report.Results.Max(r => r.Op.Length));
        var header = $"{"B",4} {"T",6} {"H",4} {"D",4}  {"op".PadRight(width)}  {"ms",10} {"spread",7} {"GB/s",7} {"TFLOP/s",8} {"of roof",8}";
        if (before is not null) header += $" {"old ms",10} {"speedup",8}";
        var rule = new string('=', Indent.Length + header.Length);
        terminal.Say(rule);
        terminal.Say($"  Machine: {report.Machine.Device} | {report.Machine.Driver} | Vulkan {report.Machine.Vulkan} | {report.Machine.System}");
        terminal.Say(Invariant($"  Roofs: copy {report.Machine.CopyGBs:0} GB/s, products {Rate(report.Machine.ProductTflops)} TFLOP/s ({report.Machine.Matrix ?? "plain arithmetic"})"));
        foreach (var mode in report.Results.GroupBy(r => r.Mode).OrderBy(m => m.Key, StringComparer.Ordinal))
        {
            terminal.Say(rule);
            terminal.Say($"  {mode.Key,-7} {header}");
            foreach (var shape in mode.GroupBy(r => $"{r.B,4} {r.T,6} {r.H,4} {r.D,4}"))
            {
                terminal.Say(Indent + new string('-', header.Length));
                var sizes = shape.Key;
                foreach (var row in shape)
                {
                    var spread = (row.P80Ms - row.P20Ms) / row.MedianMs;
                    var line = Invariant($"{sizes,21}  {row.Op.PadRight(width)}  {row.MedianMs,10:0.0000} {spread,7:0.0%} {Rate(row.GBs),7} {Rate(row.Tflops),8} {row.OfRoof,8:0.0%}");
                    if (before is not null && before.TryGetValue(row.Key, out var then)) line += Invariant($" {then.MedianMs,10:0.0000} {then.MedianMs / row.MedianMs,7:0.00}x");
                    terminal.Say(Indent + line);
                    sizes = "";
                }
            }
        }
        terminal.Say(rule);
    }

    /// <summary>Three digits or more, of a CPU driver as of a large card.</summary>
    private static string Rate(double rate) => rate.ToString(rate >= 100 ? "0" : rate >= 1 ? "0.00" : "0.0000", CultureInfo.InvariantCulture);

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
