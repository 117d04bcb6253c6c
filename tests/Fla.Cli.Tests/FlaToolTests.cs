using System.Text.RegularExpressions;
using Fla.Cli.Training;
using NUnit.Framework;

namespace Fla.Cli.Tests;

public sealed partial class FlaToolTests
{
    [TestCase]
    [TestCase("nonsense")]
    [TestCase("check")]
    [TestCase("info", "--no-such-option")]
    [TestCase("generate", "folder", "--dtype", "f64")]
    [TestCase("generate", "folder", "--top-k", "many")]
    [TestCase("generate", "folder", "--prompt", "a", "--prompt-ids", "1")]
    [TestCase("check", "folder", "--mode", "sideways")]
    [TestCase("eval", "ppl", "folder")]
    [TestCase("eval", "ppl", "folder", "--data", "x", "--block-size", "1")]
    public void WrongUsageSaysWhatIsWrong(params string[] args)
    {
        var (status, _, error) = Tool.Run(args);
        Assert.That(status, Is.EqualTo(1));
        Assert.That(error.Trim(), Is.Not.Empty);
        Assert.That(error, Does.Not.Contain("   at "), "a stack trace");
    }

    [TestCase("demo", "--steps")]
    [TestCase("info", "--device")]
    [TestCase("check", "--mode")]
    [TestCase("generate", "--top-p")]
    [TestCase("train", "--seq-len")]
    [TestCase("train", "--device")]
    public void HelpNamesTheOptions(string command, string option)
    {
        var (status, output, _) = Tool.Run(command, "--help");
        Assert.That(status, Is.Zero);
        Assert.That(output, Does.Contain(option));
    }

    [Test]
    public void HelpOfTrainTeaches()
    {
        var output = Tool.Run("train", "-h").Out;
        Assert.That(output, Does.Contain("fla train --data book.txt --out runs/a").And.Contain("Optimisation:").And.Contain("(default: 512)"));
        var settings = typeof(TrainSettings).GetProperties().Select(property => "--" + Capital().Replace(property.Name, "-$0").ToLowerInvariant());
        Assert.That(settings.Where(flag => !output.Contains($" {flag} ", StringComparison.Ordinal)), Is.Empty, "settings without a flag of their name");
    }

    [TestCase("info", "--device", "no such device")]
    [TestCase("check", "/no/such/folder")]
    [TestCase("generate", "/no/such/folder")]
    [TestCase("demo", "--data", "/no/such/file")]
    [TestCase("demo", "--hidden-size", "100")]
    public void ErrorsAreOneLine(params string[] args)
    {
        var (status, _, error) = Tool.Run(args);
        Assert.That(status, Is.EqualTo(1));
        var lines = error.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.That(lines[^1], Does.StartWith("fla: "));
        Assert.That(error, Does.Not.Contain("   at "), "a stack trace");
    }

    [Test]
    public void TraceIsShownWhenAskedFor()
    {
        Environment.SetEnvironmentVariable("FLA_TRACE", "1");
        try
        {
            var (status, _, error) = Tool.Run("check", "/no/such/folder");
            Assert.That(status, Is.EqualTo(1));
            Assert.That(error, Does.StartWith("fla: ").And.Contain("   at Fla."));
        }
        finally
        {
            Environment.SetEnvironmentVariable("FLA_TRACE", null);
        }
    }

    [GeneratedRegex("(?<=.)[A-Z]")]
    private static partial Regex Capital();
}
