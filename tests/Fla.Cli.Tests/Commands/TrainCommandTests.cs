using System.Diagnostics;
using System.Text.Json.Nodes;
using Fla.Cli.Tests.Training;
using Fla.Models.Checkpoints;
using Fla.Models.Training;
using Fla.Testing;
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
        var (status, output, error) = Tool.Run([.. Arguments(run), "--keep-last", "2", "--eval-every", "4", "--profile", In("trace.json")]);
        Assert.That(status, Is.Zero, error);
        Assert.That(output, Does.Contain("perplexity").And.Contain("step-000010"));
        Assert.That(error, Does.Contain("GB predicted").And.Contain("tokens/s, device busy").And.Contain("of the host a step"));
        Assert.That(new RunFolder(run).Steps, Is.EqualTo(new long[] { 9, 10 }));
        Assert.That(output, Does.Contain("optim/adamw"));
        Assert.That(JsonNode.Parse(File.ReadAllText(In("trace.json")))!["traceEvents"]!.AsArray(), Has.Count.GreaterThan(50));
        var lines = File.ReadLines(Path.Combine(run, "metrics.jsonl")).Select(line => JsonNode.Parse(line)!).ToList();
        Assert.That(lines.Where(l => l["loss"] != null).Select(l => (int)l["step"]!), Is.EqualTo(Enumerable.Range(0, 10)));
        Assert.That(lines.Where(l => l["loss"] != null).Select(l => (double)l["device_seconds"]!), Is.All.GreaterThan(0));
        Assert.That(lines.Where(l => l["loss"] != null).Select(l => (long)l["memory"]!), Is.All.GreaterThan(1 << 20));
        Assert.That(lines.Where(l => l["held_out_loss"] != null).Select(l => (int)l["step"]!), Is.EqualTo(new[] { 0, 4, 8, 10 }));
        Assert.That(File.Exists(Path.Combine(run, "loss.png")));
        Assert.That(Tool.Run("generate", Path.Combine(run, "step-000010"), "--prompt", "the", "-n", "4").Status, Is.Zero);
    }

    [Test]
    public void RunTellsTensorBoardAndSamples()
    {
        var run = In("run");
        string[] more = ["--sample-every", "3", "--sample-tokens", "6", "--prompt", "0 and", "--eval-every", "4", "--keep-last", "0"];
        var (status, _, error) = Tool.Run([.. Arguments(run, steps: 6, data: Documents()), .. more]);
        Assert.That(status, Is.Zero, error);
        Assert.That(error, Does.Contain("after 3 steps: 0 and|"));
        var first = Directory.GetFiles(run, "*tfevents*").Single();
        Directory.Delete(Path.Combine(run, "step-000006"), recursive: true);
        Assert.That(Tool.Run("train", "--out", run, "--resume").Status, Is.Zero);

        var samples = File.ReadLines(Path.Combine(run, "samples.jsonl")).Select(line => JsonNode.Parse(line)!).ToList();
        Assert.That(samples.Select(s => ((long)s["step"]!, (string?)s["prompt"])), Is.EqualTo(new[] { (3L, "0 and"), (6L, "0 and") }));
        var files = Directory.GetFiles(run, "*tfevents*").Order(StringComparer.Ordinal).ToList();
        Assert.That(files, Has.Count.EqualTo(2).And.ItemAt(0).EqualTo(first));
        var (before, after) = (TensorBoardReader.Events(files[0]), TensorBoardReader.Events(files[1]));
        Assert.That(after.Single(e => e.IsStart).Step, Is.EqualTo(3));
        Assert.That(Loss(after), Is.EqualTo(Loss(before).Skip(3)));
        Assert.That(Loss(before), Is.EqualTo(Losses(run).ConvertAll(row => (row.Item1, (float)row.Item2))));
        Assert.That(before.SelectMany(e => e.Scalars.Select(s => s.Tag)).Distinct(), Is.EquivalentTo(new[]
        {
            "train/loss", "train/lr", "train/grad_norm", "train/tokens_per_second", "held_out/loss", "held_out/perplexity",
        }));
        Assert.That(before.SelectMany(e => e.Texts).Select(t => t.Text), Is.EqualTo(samples.Select(s => (string?)s["prompt"] + (string?)s["text"])));

        static IEnumerable<(long, float)> Loss(List<BoardEvent> events) =>
            events.SelectMany(e => e.Scalars.Where(s => s.Tag == "train/loss").Select(s => (e.Step, s.Value)));
    }

    [Test]
    public void AnyMixOfFilesIsLearntAndTokensCanBeLearntAgain()
    {
        var data = Directory.CreateDirectory(In("data")).FullName;
        File.Move(Documents(), Path.Combine(data, "a.jsonl"));
        File.Move(Text(), Path.Combine(data, "b.txt"));
        File.Copy(Golden.Path("parquet/documents-zstd.parquet"), Path.Combine(data, "c.parquet"));
        string[] small = ["--steps", "2", "--hidden-size", "64", "--layers", "1", "--seq-len", "16", "--batch-size", "2", "--sample-every", "0"];
        var (status, _, error) = Tool.Run(["train", "--data", data, "--out", In("text"), .. small]);
        Assert.That(status, Is.Zero, error);
        Assert.That(error, Does.Contain("in 89 documents"));
        (status, _, error) = Tool.Run(["train", "--data", Path.Combine(In("text"), "tokens.bin"), "--out", In("tokens"), .. small]);
        Assert.That(status, Is.Zero, error);
        Assert.That(Losses(In("tokens")), Is.EqualTo(Losses(In("text"))));
        Assert.That(File.Exists(Path.Combine(In("tokens"), "tokens.bin")), Is.False, "tokens are not copied");
        File.Copy(Path.Combine(In("text"), "held-out.bin"), Path.Combine(In("text"), "tokens.bin"), overwrite: true);
        Assert.That(Tool.Run("train", "--out", In("tokens"), "--resume", "--steps", "3").Error, Does.Contain("tokens.bin"));
        Assert.That(Tool.Run("train", "--out", In("tokens"), "--resume", "--data", data).Error, Does.Contain("--init"));
    }

    [Test]
    public void TokensOfOthersNeedNoTokenizer()
    {
        var data = In("train.bin");
        File.WriteAllBytes(data, [.. Enumerable.Range(0, 600).SelectMany(i => BitConverter.GetBytes((ushort)(i % 23 == 22 ? 299 : i * i % 290)))]);
        File.WriteAllText(In("train.json"), """{ "dtype": "u16", "vocab_size": 300, "end_token": 299 }""");
        var (status, _, error) = Tool.Run(Arguments(In("run"), steps: 2, data: data));
        Assert.That(status, Is.Zero, error);
        Assert.That(error, Does.Contain("600 tokens in 27 documents"));
        var checkpoint = new RunFolder(In("run")).PathOf(2);
        Assert.That((int)JsonNode.Parse(File.ReadAllText(Path.Combine(checkpoint, "config.json")))!["vocab_size"]!, Is.EqualTo(300));
        Assert.That(File.Exists(Path.Combine(checkpoint, "tokenizer.json")), Is.False);
        Assert.That(Tool.Run("train", "--out", In("run"), "--resume", "--steps", "3").Status, Is.Zero);
        Assert.That(Tool.Run("eval", "ppl", checkpoint, "--data", data, "--block-size", "16", "--json").Status, Is.Zero);
        File.WriteAllText(In("train.json"), """{ "dtype": "u16", "vocab_size": 200 }""");
        Assert.That(Tool.Run(Arguments(In("other"), steps: 2, data: data)).Error, Does.Contain("outside").Or.Contain("vocabulary"));
    }

    [Test]
    public void CheckpointBringsItsTokenizer()
    {
        string[] small = ["--save-every", "2", "--sample-every", "0"];
        Assert.That(Tool.Run(Arguments(In("b"), steps: 2, saveEvery: 2)).Status, Is.Zero);
        var (status, _, error) = Tool.Run(["train", "--data", Text(), "--out", In("c"), "--init", new RunFolder(In("b")).PathOf(2), "--steps", "2", "--seq-len", "16", "--batch-size", "2", .. small]);
        Assert.That(status, Is.Zero, error);
        Assert.That(File.ReadAllBytes(In("c/tokens.bin")), Is.EqualTo(File.ReadAllBytes(In("b/tokens.bin"))));
        Assert.That(File.ReadAllText(In("c/step-000002/tokenizer.json")), Is.EqualTo(File.ReadAllText(In("b/step-000002/tokenizer.json"))));
    }

    [Test]
    public void ModelThatCannotTellDocumentsApartIsTrainedOnWindows()
    {
        var (status, _, error) = Tool.Run([.. Arguments(In("run"), steps: 2, data: Documents()), "--model", "linear_attn", "--sample-every", "0"]);
        Assert.That(status, Is.Zero, error);
        Assert.That(error, Does.Contain("linear_attn cannot tell packed documents apart"));
    }

    [Test]
    public void EveryFamilyTrainsAndWrites([Values("retnet", "delta_net", "gated_deltanet", "gated_deltaproduct", "comba", "kda", "rwkv7")] string family)
    {
        var run = In("run");
        var (status, _, error) = Tool.Run("train", "--data", Text(), "--out", run, "--model", family, "--hidden-size", "32", "--heads", "2", "--layers", "2",
            "--seq-len", "70", "--batch-size", "2", "--steps", "2");
        Assert.That(status, Is.Zero, error);
        Assert.That(Tool.Run("generate", Path.Combine(run, "step-000002"), "--prompt", "the", "-n", "4").Status, Is.Zero);
    }

    [TestCase("bf16", false)]
    [TestCase("f16", true)]
    public void KilledRunResumesBitForBit(string dtype, bool isDistilled)
    {
        var (whole, killed) = (In("whole"), In("killed"));
        // A scale so high that the first steps overflow: it is on the move when the run is killed.
        string[] more = dtype == "f16" ? ["--loss-scale", "16777216", "--loss-scale-growth", "2"] : [];
        if (isDistilled) more = [.. more, "--teacher", Teacher(), "--distill-weight", "0.7", "--temperature", "2"];
        // Packed documents, and several rows of them a step.
        var data = Documents();
        more = [.. more, "--accumulation", "2", "--sample-every", "4", "--sample-tokens", "5", "--eval-every", "4"];
        var (trained, _, said) = Tool.Run([.. Arguments(whole, dtype, data: data), .. more]);
        Assert.That(trained, Is.Zero, said);
        using (var process = Start([.. Arguments(killed, dtype, data: data), .. more]))
        {
            var clock = Stopwatch.StartNew();
            while (new RunFolder(killed).Steps.Count == 0 && !process.HasExited && clock.Elapsed < TimeSpan.FromMinutes(2)) Thread.Sleep(5);
            process.Kill();
            process.WaitForExit();
        }
        var steps = new RunFolder(killed).Steps;
        Assert.That(steps, Is.Not.Empty);
        // The text was tokenized when the run began: what becomes of it is nothing to the run.
        File.Delete(data);
        var (status, _, error) = Tool.Run("train", "--out", killed, "--resume");
        Assert.That(status, Is.Zero, error);
        foreach (var file in new[] { Checkpoint.FileName, Trainer.StateFileName })
        {
            Assert.That(File.ReadAllBytes(Path.Combine(killed, "step-000010", file)), Is.EqualTo(File.ReadAllBytes(Path.Combine(whole, "step-000010", file))), file);
        }
        Assert.That(Losses(killed), Is.EqualTo(Losses(whole)));
        Assert.That(HeldOut(killed), Is.SupersetOf(HeldOut(whole)));
        Assert.That(File.ReadAllText(Path.Combine(killed, "samples.jsonl")), Is.EqualTo(File.ReadAllText(Path.Combine(whole, "samples.jsonl"))));
        if (dtype == "f16") Assert.That(Rows(whole).Any(row => (bool)row["skipped"]!), "a step overflowed");
    }

    [Test]
    public void InterruptedRunSavesWhereItStands()
    {
        if (OperatingSystem.IsWindows()) Assert.Ignore("there is no SIGINT to send");
        var run = In("run");
        using (var process = Start(Arguments(run, steps: 100000, saveEvery: 100000)))
        {
            var clock = Stopwatch.StartNew();
            var metrics = Path.Combine(run, "metrics.jsonl");
            while ((!File.Exists(metrics) || new FileInfo(metrics).Length < 2000) && !process.HasExited && clock.Elapsed < TimeSpan.FromMinutes(2)) Thread.Sleep(5);
            Process.Start("sh", ["-c", $"kill -INT {process.Id}"]).WaitForExit();
            Assert.That(process.WaitForExit(TimeSpan.FromMinutes(1)));
            Assert.That(process.ExitCode, Is.Not.Zero);
        }
        var step = new RunFolder(run).Steps.Single();
        Assert.That(step, Is.GreaterThan(0));
        Assert.That(Rows(run).Max(row => (long)row["step"]!), Is.EqualTo(step - 1));
        Assert.That(Tool.Run("train", "--out", run, "--resume", "--steps", $"{step + 2}").Status, Is.Zero);
        Assert.That(new RunFolder(run).Steps[^1], Is.EqualTo(step + 2));
    }

    [Test]
    public void TeacherOfAnotherVocabularyIsRefused()
    {
        var teacher = Teacher();
        var file = Path.Combine(teacher, "tokenizer.json");
        var tokenizer = JsonNode.Parse(File.ReadAllText(file))!;
        var vocabulary = tokenizer["model"]!["vocab"]!;
        (vocabulary["a"], vocabulary["b"]) = ((int)vocabulary["b"]!, (int)vocabulary["a"]!);
        File.WriteAllText(file, tokenizer.ToJsonString());
        Assert.That(Tool.Run([.. Arguments(In("run")), "--teacher", teacher]).Error, Does.Contain("another vocabulary"));
    }

    [Test]
    public void RunTooLargeForTheDeviceIsRefusedBeforeItBegins()
    {
        var (status, _, error) = Tool.Run(Arguments(In("run"), width: 4096, batch: 100000));
        Assert.That(status, Is.Not.Zero);
        Assert.That(error, Does.Contain("100000").And.Contain("fits"));
        Assert.That(new RunFolder(In("run")).Steps, Is.Empty);
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
        string[] small = ["--save-every", "0", "--steps", "1", "--hidden-size", "64", "--layers", "1", "--seq-len", "16", "--batch-size", "2", "--held-out", "0"];
        Assert.That(Tool.Run(["train", "--data", data, "--out", In("run"), .. small]).Status, Is.Zero);
        Assert.That(new RunFolder(In("run")).Steps, Is.Empty, "no checkpoints were asked for");
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

    /// <summary>Many documents, most of them shorter than a sequence, one much longer.</summary>
    private string Documents()
    {
        var data = In("documents.jsonl");
        var texts = Enumerable.Range(0, 80).Select(i => string.Concat(Enumerable.Range(0, i == 40 ? 60 : 1 + i % 3).Select(n => $"{n * i % 7} and ")));
        File.WriteAllLines(data, texts.Select(text => new JsonObject { ["text"] = text }.ToJsonString()));
        return data;
    }

    /// <summary>A checkpoint of a small model, of another width than the student's.</summary>
    private string Teacher()
    {
        var run = In("teacher");
        Assert.That(Tool.Run(Arguments(run, width: 128, steps: 2)).Status, Is.Zero);
        return new RunFolder(run).PathOf(2);
    }

    private string[] Arguments(string run, string dtype = "bf16", int width = 64, int batch = 2, int steps = 10, int saveEvery = 3, string? data = null) =>
    [
        "train", "--data", data ?? Text(), "--out", run, "--hidden-size", $"{width}", "--layers", "1", "--seq-len", "16", "--batch-size", $"{batch}", "--steps", $"{steps}", "--warmup", "2",
        "--lr", "5e-3", "--save-every", $"{saveEvery}", "--dtype", dtype,
    ];

    private static List<JsonNode> Rows(string run) =>
        File.ReadLines(Path.Combine(run, "metrics.jsonl")).Select(line => JsonNode.Parse(line)!).Where(row => row["loss"] != null).ToList();

    private static List<(long, double)> Losses(string run) => Rows(run).ConvertAll(row => ((long)row["step"]!, (double)row["loss"]!));

    private static List<(long, double)> HeldOut(string run) => File.ReadLines(Path.Combine(run, "metrics.jsonl")).Select(line => JsonNode.Parse(line)!)
        .Where(row => row["held_out_loss"] != null).Select(row => ((long)row["step"]!, (double)row["held_out_loss"]!)).ToList();

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
