using System.Diagnostics;
using System.Text.Json.Nodes;
using Fla.Models.Checkpoints;
using Fla.Models.Training;
using NUnit.Framework;

namespace Fla.Cli.Tests.Commands;

public sealed class TrainCommandTests
{
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("fla-train-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void RunLeavesCheckpointsMetricsAndPlot()
    {
        var run = In("run");
        var (status, output, error) = Tool.Run([.. Arguments(run), "--keep-last", "2", "--eval-every", "4"]);
        Assert.That(status, Is.Zero, error);
        Assert.That(output, Does.Contain("perplexity").And.Contain("step-000010"));
        Assert.That(new RunFolder(run).Steps, Is.EqualTo(new long[] { 9, 10 }));
        var lines = File.ReadLines(Path.Combine(run, "metrics.jsonl")).Select(line => JsonNode.Parse(line)!).ToList();
        Assert.That(lines.Where(l => l["loss"] != null).Select(l => (int)l["step"]!), Is.EqualTo(Enumerable.Range(0, 10)));
        Assert.That(lines.Where(l => l["held_out_loss"] != null).Select(l => (int)l["step"]!), Is.EqualTo(new[] { 0, 4, 8, 10 }));
        Assert.That(File.Exists(Path.Combine(run, "loss.png")));
        Assert.That(Tool.Run("generate", Path.Combine(run, "step-000010"), "--prompt", "the", "-n", "4").Status, Is.Zero);
    }

    [Test]
    public void KilledRunResumesBitForBit()
    {
        var (whole, killed) = (In("whole"), In("killed"));
        Assert.That(Tool.Run(Arguments(whole)).Status, Is.Zero);
        using (var process = Start(Arguments(killed)))
        {
            var clock = Stopwatch.StartNew();
            while (new RunFolder(killed).Steps.Count == 0 && !process.HasExited && clock.Elapsed < TimeSpan.FromMinutes(2)) Thread.Sleep(5);
            process.Kill();
            process.WaitForExit();
        }
        var steps = new RunFolder(killed).Steps;
        Assert.That(steps, Is.Not.Empty);
        var (status, _, error) = Tool.Run("train", "--out", killed, "--resume");
        Assert.That(status, Is.Zero, error);
        foreach (var file in new[] { Checkpoint.FileName, Trainer.StateFileName })
        {
            Assert.That(File.ReadAllBytes(Path.Combine(killed, "step-000010", file)), Is.EqualTo(File.ReadAllBytes(Path.Combine(whole, "step-000010", file))), file);
        }
        Assert.That(Losses(killed), Is.EqualTo(Losses(whole)));
    }

    [Test]
    public void SettingsComeFromAFileAndFlagsComeFirst()
    {
        var file = In("settings.json");
        File.WriteAllText(file, """{ "model": "retnet", "hidden_size": 64, "layers": 1, "seq_len": 16, "batch_size": 2, "steps": 3, "schedule": "wsd" }""");
        var run = In("run");
        var (status, _, error) = Tool.Run("train", "--config", file, "--data", Text(), "--out", run, "--steps", "2");
        Assert.That(status, Is.Zero, error);
        Assert.That(new RunFolder(run).Steps, Is.EqualTo(new long[] { 2 }));
        var saved = JsonNode.Parse(File.ReadAllText(Path.Combine(run, "train.json")))!;
        Assert.That(((string?)saved["model"], (int)saved["steps"]!, (string?)saved["schedule"]), Is.EqualTo(("retnet", 2, "wsd")));
        Assert.That(saved["type"], Is.Null);
        File.WriteAllText(file, """{ "leyers": 1 }""");
        Assert.That(Tool.Run("train", "--config", file, "--data", Text(), "--out", In("other")).Error, Does.Contain("leyers"));
    }

    [Test]
    public void JsonLinesAreDocuments()
    {
        var data = In("text.jsonl");
        File.WriteAllLines(data, Enumerable.Range(0, 40).Select(i => new JsonObject { ["text"] = $"document {i} of some", ["id"] = i }.ToJsonString()));
        string[] small = ["--steps", "1", "--hidden-size", "64", "--layers", "1", "--seq-len", "16", "--batch-size", "2", "--held-out", "0"];
        Assert.That(Tool.Run(["train", "--data", data, "--out", In("run"), .. small]).Status, Is.Zero);
        File.AppendAllText(data, "{\"txt\": 1}\n");
        Assert.That(Tool.Run("train", "--data", data, "--out", In("other")).Error, Does.Contain("line 41"));
    }

    [Test]
    public void RunsAreNotOverwrittenOrInvented()
    {
        var run = In("run");
        Assert.That(Tool.Run(Arguments(run)).Status, Is.Zero);
        Assert.That(Tool.Run(Arguments(run)).Error, Does.Contain("--resume"));
        Assert.That(Tool.Run("train", "--out", In("none"), "--resume").Error, Does.Contain("no checkpoint"));
        Assert.That(Tool.Run("train", "--out", In("none")).Error, Does.Contain("--data"));
    }

    private string In(string name) => Path.Combine(_folder, name);

    private string Text()
    {
        var data = In("text.txt");
        File.WriteAllText(data, string.Concat(Enumerable.Range(0, 300).Select(i => $"the {i * i % 17} times {i % 5} and ")));
        return data;
    }

    private string[] Arguments(string run) =>
    [
        "train", "--data", Text(), "--out", run, "--hidden-size", "64", "--layers", "1", "--seq-len", "16", "--batch-size", "2", "--steps", "10", "--warmup", "2", "--lr", "5e-3",
        "--save-every", "3", "--dtype", "bf16",
    ];

    private static List<(long, double)> Losses(string run) => File.ReadLines(Path.Combine(run, "metrics.jsonl")).Select(line => JsonNode.Parse(line)!)
        .Where(l => l["loss"] != null).Select(l => ((long)l["step"]!, (double)l["loss"]!)).ToList();

    private static Process Start(string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "fla.dll"), .. arguments])
        {
            RedirectStandardError = true, RedirectStandardOutput = true,
        };
        var process = new Process { StartInfo = start };
        process.Start();
        process.OutputDataReceived += (_, _) => { };
        process.ErrorDataReceived += (_, _) => { };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return process;
    }
}
