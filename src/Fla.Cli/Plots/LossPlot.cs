using ScottPlot;

namespace Fla.Cli.Plots;

/// <summary>A picture of how the loss fell.</summary>
internal static class LossPlot
{
    /// <summary>Writes a PNG.</summary>
    /// <param name="path">The file.</param>
    /// <param name="title">Heading.</param>
    /// <param name="train">Training loss by step.</param>
    /// <param name="heldOut">Held-out loss by step.</param>
    public static void Save(string path, string title, IReadOnlyList<(long Step, double Loss)> train, IReadOnlyList<(long Step, double Loss)> heldOut)
    {
        using var plot = new Plot();
        var steps = train.Select(p => (double)p.Step).ToArray();
        var raw = plot.Add.ScatterLine(steps, train.Select(p => p.Loss).ToArray(), Colors.C0.WithAlpha(0.3));
        raw.LegendText = "training, each step";
        plot.Title(title);
        plot.XLabel("step");
        plot.YLabel("loss (nats per token)");
        plot.ShowLegend(Alignment.UpperRight);
        plot.SavePng(path, 900, 540);
    }
}
