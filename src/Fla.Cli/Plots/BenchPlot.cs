using Fla.Cli.Benchmarks;
using ScottPlot;

namespace Fla.Cli.Plots;

/// <summary>A picture of a benchmark: a bar for each op, shape and mode, as long as its share of the roof.</summary>
internal static class BenchPlot
{
    private const int Width = 1100;
    private const int Margin = 140;
    private const int PerBar = 22;

    /// <summary>Writes a PNG.</summary>
    /// <param name="path">The file; its folder must exist.</param>
    /// <param name="report">The figures.</param>
    public static void Save(string path, BenchReport report)
    {
        using var plot = new Plot();
        plot.Font.Set(EmbeddedFont.Name);
        var rows = report.Results;
        var bars = rows.Select((r, i) => new Bar
        {
            Position = rows.Count - i, Value = 100 * r.OfRoof, Label = $"{r.MedianMs:0.###} ms", FillColor = r.Mode == "fwd" ? Colors.C0 : Colors.C1,
            LabelOffset = 4, Orientation = Orientation.Horizontal,
        }).ToArray();
        var added = plot.Add.Bars(bars);
        added.Horizontal = true;
        added.ValueLabelStyle.FontName = EmbeddedFont.Name;
        plot.Axes.Left.SetTicks(bars.Select(b => b.Position).ToArray(), rows.Select(r => $"{r.Op} {r.Mode}  B{r.B} T{r.T} H{r.H} D{r.D}").ToArray());
        plot.Axes.Margins(left: 0, right: 0.2);
        plot.Title($"{report.Machine.Device}, {report.Machine.Driver}");
        plot.XLabel("percent of what the device's copy and product rates allow");
        plot.SavePng(path, Width, Margin + PerBar * rows.Count);
    }
}
