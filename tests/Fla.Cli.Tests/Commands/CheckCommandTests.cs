using Fla.Testing;
using NUnit.Framework;

namespace Fla.Cli.Tests.Commands;

public sealed class CheckCommandTests
{
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("fla-check-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void GoldenModelPasses()
    {
        var (status, output, error) = Tool.Run("check", Golden.Path("models/gla"));
        Assert.That(error, Is.Empty);
        Assert.That(output, Does.Contain("logits").And.Contain("grad.lm_head.weight").And.Not.Contain("FAILED"));
        Assert.That(status, Is.Zero);
    }

    [Test]
    public void OtherWeightsFail()
    {
        foreach (var file in Directory.EnumerateFiles(Golden.Path("models/gla"))) File.Copy(file, Path.Combine(_folder, Path.GetFileName(file)));
        var config = Path.Combine(_folder, "config.json");
        var text = File.ReadAllText(config);
        Assert.That(text, Does.Contain("\"norm_eps\": 1e-06"));
        File.WriteAllText(config, text.Replace("\"norm_eps\": 1e-06", "\"norm_eps\": 0.5", StringComparison.Ordinal));
        var (status, output, _) = Tool.Run("check", _folder);
        Assert.That(status, Is.EqualTo(1));
        Assert.That(output, Does.Contain("FAILED"));
    }

    [Test]
    public void FolderWithoutReferenceIsNotPassed()
    {
        foreach (var name in new[] { "config.json", "model.safetensors" }) File.Copy(Golden.Path($"models/gla/{name}"), Path.Combine(_folder, name));
        var (status, _, error) = Tool.Run("check", _folder);
        Assert.That(status, Is.EqualTo(1));
        Assert.That(error, Does.Contain("expected.safetensors"));
    }
}
