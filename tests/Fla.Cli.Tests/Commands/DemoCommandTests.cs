using System.Globalization;
using System.Text.RegularExpressions;
using NUnit.Framework;
using SkiaSharp;

namespace Fla.Cli.Tests.Commands;

public sealed class DemoCommandTests
{
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("fla-demo-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void LearnsSavesPlotsAndWrites()
    {
        var data = Path.Combine(_folder, "text.txt");
        File.WriteAllText(data, string.Concat(Enumerable.Repeat("the quick brown fox jumps over the lazy dog. ", 60)));
        var model = Path.Combine(_folder, "model");
        var (status, output, error) = Tool.Run("demo", "--data", data, "--out", model, "--steps", "30", "--hidden-size", "64", "--layers", "1", "--seq-len", "32",
            "--batch-size", "4", "--lr", "1e-2", "--prompt", "the ", "-n", "20");
        Assert.That(status, Is.Zero, error);
        var losses = Regex.Match(output, @"held-out loss: (\S+) untrained, (\S+) after 30 steps");
        Assert.That(losses.Success, output);
        var (before, after) = (Number(losses.Groups[1].Value), Number(losses.Groups[2].Value));
        Assert.That(before, Is.EqualTo(Math.Log(259)).Within(0.3));
        Assert.That(after, Is.LessThan(before - 2));
        Assert.That(error, Does.Contain("step 30/30"));
        Assert.That(output, Does.Contain("the "));
        using (var plot = SKBitmap.Decode(Path.Combine(model, "loss.png"))) Assert.That(plot.Width, Is.GreaterThan(500));
        var again = Tool.Run("generate", model, "--prompt", "the qu", "--greedy", "-n", "8");
        Assert.That(again.Status, Is.Zero, again.Error);
        Assert.That(again.Out, Does.StartWith("the qu").And.Length.GreaterThan(8));
    }

    [Test]
    public void BudgetOfTimeIsKept()
    {
        var data = Path.Combine(_folder, "text.txt");
        File.WriteAllText(data, string.Concat(Enumerable.Range(0, 900).Select(i => $"{i} ")));
        var clock = System.Diagnostics.Stopwatch.StartNew();
        var (status, output, error) = Tool.Run("demo", "--data", data, "--out", Path.Combine(_folder, "model"), "--minutes", "0.05", "--hidden-size", "64", "--layers", "1",
            "--seq-len", "32", "--batch-size", "2", "-n", "1");
        Assert.That(status, Is.Zero, error);
        Assert.That(output, Does.Contain("after "));
        Assert.That(clock.Elapsed, Is.LessThan(TimeSpan.FromMinutes(2)));
    }

    [Test]
    public void BinaryAndTooShortFilesAreRefused()
    {
        var data = Path.Combine(_folder, "text.txt");
        File.WriteAllBytes(data, [0x66, 0xff, 0xfe, 0x41]);
        Assert.That(Tool.Run("demo", "--data", data, "--out", _folder).Error, Does.Contain("fla: ").And.Contain("UTF-8"));
        File.WriteAllText(data, "short");
        Assert.That(Tool.Run("demo", "--data", data, "--out", _folder).Error, Does.Contain("fla: the text has 7 tokens"));
    }

    private static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);
}
