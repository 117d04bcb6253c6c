using ScottPlot;

namespace Fla.Cli.Plots;

/// <summary>A picture of how the loss fell.</summary>
internal static class LossPlot
{
    private const int Width = 960;
    private const int Height = 540;

    /// <summary>Share of the steps that the smooth curve averages over.</summary>
    private const double Smoothing = 0.02;

    /// <summary>Writes a PNG.</summary>
    /// <param name="path">The file; its folder must exist.</param>
    /// <param name="title">Heading, ASCII.</param>
    /// <param name="train">Loss of every training step, in order.</param>
    /// <param name="heldOut">Held-out loss of some steps, in order.</param>
    public static void Save(string path, string title, IReadOnlyList<(long Step, double Loss)> train, IReadOnlyList<(long Step, double Loss)> heldOut)
    {
        using var plot = new Plot();
        plot.Font.Set(EmbeddedFont.Name);
        var steps = train.Select(p => (double)p.Step).ToArray();
        plot.Add.ScatterLine(steps, train.Select(p => p.Loss).ToArray(), Colors.C0.WithAlpha(0.3)).LegendText = "training, each step";
        plot.Add.ScatterLine(steps, Smooth(train), Colors.C0).LegendText = "training, smoothed";
        if (heldOut.Count > 0)
        {
            var points = plot.Add.Scatter(heldOut.Select(p => (double)p.Step).ToArray(), heldOut.Select(p => p.Loss).ToArray(), Colors.C1);
            points.LegendText = $"held out, last {heldOut[^1].Loss:0.000}";
            points.MarkerSize = 7;
        }
        plot.Title(title);
        plot.XLabel("step");
        plot.YLabel("loss (nats per token)");
        plot.ShowLegend(Alignment.UpperRight).FontName = EmbeddedFont.Name;
        plot.Axes.Margins(0.02, 0.05);
        plot.SavePng(path, Width, Height);
    }

    /// <summary>Exponential moving average, unbiased at the beginning.</summary>
    private static double[] Smooth(IReadOnlyList<(long Step, double Loss)> train)
    {
        var keep = 1 - 1 / Math.Max(1, train.Count * Smoothing);
        var smooth = new double[train.Count];
        double sum = 0, weight = 0;
        for (var i = 0; i < smooth.Length; i++)
        {
            sum = keep * sum + (1 - keep) * train[i].Loss;
            weight = keep * weight + (1 - keep);
            smooth[i] = weight > 0 ? sum / weight : train[i].Loss;
        }
        return smooth;
    }
}
