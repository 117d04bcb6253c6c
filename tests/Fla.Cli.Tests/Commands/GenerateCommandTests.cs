using Fla.Testing;
using NUnit.Framework;

namespace Fla.Cli.Tests.Commands;

public sealed class GenerateCommandTests
{
    [Test]
    public void GreedyIdsAreThoseOfFla()
    {
        using var golden = Golden.Open("models/gla/expected.safetensors");
        var prompt = golden.Integers("input_ids").AsSpan(0, 11).ToArray();
        var expected = golden.Integers("generated");
        var (status, output, error) = Tool.Run("generate", Golden.Path("models/gla"), "--prompt-ids", string.Join(' ', prompt), "--greedy", "-n", $"{expected.Length}", "--dtype", "f32");
        Assert.That((status, error), Is.EqualTo((0, "")));
        Assert.That(output.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Where(t => t != "").Select(int.Parse), Is.EqualTo(expected));
    }

    [Test]
    public void BatchIsPrintedRowByRow()
    {
        var model = Golden.Path("models/gla");
        string Line(string ids) => Tool.Run("generate", model, "--prompt-ids", ids, "--greedy", "-n", "5").Out.Trim();
        var (_, output, _) = Tool.Run("generate", model, "--prompt-ids", "5 6 7", "--prompt-ids", "9", "--greedy", "-n", "5");
        Assert.That(output.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries), Is.EqualTo(new[] { Line("5 6 7"), Line("9") }));
    }

    [Test]
    public void SeedDecidesTheDraws()
    {
        string Draw(string seed) => Tool.Run("generate", Golden.Path("models/gla"), "--prompt-ids", "5", "-n", "12", "--temperature", "2", "--top-p", "1", "--seed", seed).Out;
        var (one, again, two) = (Draw("1"), Draw("1"), Draw("2"));
        Assert.That(again, Is.EqualTo(one));
        Assert.That(two, Is.Not.EqualTo(one));
    }

    [TestCase("--prompt", "abc", "tokenizer")]
    [TestCase("--prompt-ids", "5 x", "'x'")]
    [TestCase("--prompt-ids", "5000", "5000")]
    public void WrongPromptsAreOneLine(string option, string value, string says)
    {
        var (status, _, error) = Tool.Run("generate", Golden.Path("models/gla"), option, value);
        Assert.That(status, Is.EqualTo(1));
        Assert.That(error, Does.StartWith("fla: ").And.Contain(says));
        Assert.That(error.Trim(), Does.Not.Contain("\n"));
    }
}
