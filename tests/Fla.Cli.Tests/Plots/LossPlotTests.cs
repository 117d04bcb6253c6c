using Fla.Cli.Plots;
using NUnit.Framework;
using SkiaSharp;

namespace Fla.Cli.Tests.Plots;

public sealed class LossPlotTests
{
    private const int Width = 960;

    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("fla-plot-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void TitleLegendAndCurveAreDrawn()
    {
        var (one, other) = (Draw("gla, 1.2 M parameters"), Draw("retnet, 7 M parameters"));
        bool IsTitle(int i) => i / Width < 40;
        var changed = Enumerable.Range(0, one.Length).Where(i => one[i] != other[i]).ToList();
        Assert.That(changed, Has.Count.GreaterThan(200), "the titles");
        Assert.That(changed.Where(i => !IsTitle(i)), Is.Empty, "nothing else");
        Assert.That(one.Count(IsDark), Is.GreaterThan(1500), "axes, labels and legend");
    }

    [Test]
    public void FontHasEveryAsciiGlyph()
    {
        var font = ScottPlot.Fonts.GetTypeface(EmbeddedFont.Name, false, false);
        for (var c = ' '; c <= '~'; c++) Assert.That(font.GetGlyph(c), Is.Not.Zero, $"'{c}'");
    }

    private SKColor[] Draw(string title)
    {
        var path = Path.Combine(_folder, "loss.png");
        LossPlot.Save(path, title, Enumerable.Range(0, 300).Select(i => ((long)i, 2 + 3 * Math.Exp(-i / 60.0) + 0.2 * Math.Sin(i * 7.3))).ToList(), [(0, 5.4), (100, 2.9), (299, 2.3)]);
        if (Environment.GetEnvironmentVariable("KEEP") is {} k) File.Copy(path,k,true);
        using var image = SKBitmap.Decode(path);
        Assert.That(image.Width, Is.EqualTo(Width));
        return image.Pixels;
    }

    private static bool IsDark(SKColor c) => c.Red + c.Green + c.Blue < 200;
}
