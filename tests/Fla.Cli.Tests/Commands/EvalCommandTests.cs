using System.Text.Json.Nodes;
using Fla.Models.Training;
using NUnit.Framework;

namespace Fla.Cli.Tests.Commands;

public sealed class EvalCommandTests
{
    private string _folder = "";
    private string _run = "";
    private string _checkpoint = "";

    [OneTimeSetUp]
    public void Train()
    {
        _folder = Directory.CreateTempSubdirectory("fla-eval-").FullName;
        _run = Path.Combine(_folder, "run");
        var data = Path.Combine(_folder, "documents.jsonl");
        File.WriteAllLines(data, Enumerable.Range(0, 60).Select(i => new JsonObject { ["text"] = string.Concat(Enumerable.Range(0, 1 + i % 9).Select(n => $"{n * i % 7} and ")) }.ToJsonString()));
        var (status, _, error) = Tool.Run("train", "--data", data, "--out", _run, "--hidden-size", "64", "--layers", "1", "--seq-len", "24", "--batch-size", "3", "--steps", "6",
            "--lr", "5e-3", "--warmup", "1", "--held-out", "0.2", "--sample-every", "0");
        Assert.That(status, Is.Zero, error);
        _checkpoint = new RunFolder(_run).PathOf(6);
    }

    [OneTimeTearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void HeldOutPerplexityIsThatOfTraining()
    {
        var told = File.ReadLines(Path.Combine(_run, "metrics.jsonl")).Select(line => JsonNode.Parse(line)!).Last(row => row["held_out_loss"] != null);
        Assert.That((long)told["step"]!, Is.EqualTo(6));
        string[] same = ["--data", Path.Combine(_run, "held-out.bin"), "--by-document", "--block-size", "24", "--batch-size", "3"];
        var result = Json(same);
        Assert.That((double)result["perplexity"]!, Is.EqualTo((double)told["perplexity"]!));
        Assert.That((double)result["loss"]!, Is.EqualTo((double)told["held_out_loss"]!));
        var buckets = Json([.. same, "--bucket-size", "8"])["buckets"]!.AsArray();
        Assert.That(buckets.Select(b => ((int)b!["from"]!, (int)b["to"]!)), Is.EqualTo(new[] { (0, 8), (8, 16), (16, 24) }));
        Assert.That(buckets.Sum(b => (long)b!["tokens"]!), Is.EqualTo((long)result["tokens"]!));
        Assert.That(buckets.Sum(b => (long)b!["tokens"]! * (double)b["loss"]!) / (long)result["tokens"]!, Is.EqualTo((double)told["held_out_loss"]!).Within(1e-9));
    }

    [Test]
    public void TextIsCutIntoBlocks()
    {
        var text = Path.Combine(_folder, "text.txt");
        File.WriteAllText(text, new string('a', 99));
        // With the token that begins a text, 100 in all: 3 blocks of 30, each of whose tokens but the first is predicted.
        var result = Json("--data", text, "--block-size", "30");
        Assert.That(((long)result["sequences"]!, (long)result["tokens"]!), Is.EqualTo((3, 87)));
        Assert.That((long)Json("--data", text, "--block-size", "30", "--max-blocks", "2")["tokens"]!, Is.EqualTo(58));
        Assert.That((long)Json("--data", text, "--block-size", "30", "--by-document")["tokens"]!, Is.EqualTo(96));
        Assert.That((long)Json("--data", text)["tokens"]!, Is.EqualTo(99), "less than a block is one");
    }

    [Test]
    public void TableNamesPositions()
    {
        var (status, output, error) = Tool.Run("eval", "ppl", _checkpoint, "--data", Path.Combine(_run, "tokens.bin"), "--block-size", "50", "--bucket-size", "25");
        Assert.That(status, Is.Zero, error);
        Assert.That(output, Does.Contain("0 to 24").And.Contain("25 to 49").And.Contain("all, in").And.Contain("Perplexity of step-000006"));
    }

    [Test]
    public void WhatCannotBeReadIsOneLine()
    {
        foreach (var data in new[] { "/no/such/file", _checkpoint + "/model.safetensors" })
        {
            var (status, _, error) = Tool.Run("eval", "ppl", _checkpoint, "--data", data);
            Assert.That(status, Is.EqualTo(1));
            Assert.That(error.Trim().Split('\n')[^1], Does.StartWith("fla: ").And.Contain(data));
        }
    }

    private JsonNode Json(params string[] arguments)
    {
        var (status, output, error) = Tool.Run(["eval", "ppl", _checkpoint, "--json", .. arguments]);
        Assert.That(status, Is.Zero, error);
        return JsonNode.Parse(output)!;
    }
}
