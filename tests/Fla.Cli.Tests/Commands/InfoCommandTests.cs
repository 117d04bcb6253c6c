using Fla.Vulkan;
using NUnit.Framework;

namespace Fla.Cli.Tests.Commands;

public sealed class InfoCommandTests
{
    [Test]
    public void ShowsEveryDeviceAndWhichIsUsed()
    {
        var (status, output, error) = Tool.Run("info");
        Assert.That((status, error), Is.EqualTo((0, "")));
        foreach (var device in DeviceInfo.All()) Assert.That(output, Does.Contain(device.Name).And.Contain(device.Driver));
        using var chosen = ComputeDevice.Create();
        Assert.That(output, Does.Contain($"{chosen.Info.Index} *"));
    }

    [Test]
    public void SaysWhyAPathIsNotTaken()
    {
        var before = Environment.GetEnvironmentVariable("FLA_DISABLE");
        Environment.SetEnvironmentVariable("FLA_DISABLE", "float16");
        try
        {
            Assert.That(Tool.Run("info").Out, Does.Contain("fp16 arithmetic: switched off (FLA_DISABLE=float16)"));
        }
        finally
        {
            Environment.SetEnvironmentVariable("FLA_DISABLE", before);
        }
    }

    [Test]
    public void ListsShadersBadDriversAndSwitches()
    {
        var output = Tool.Run("info").Out;
        foreach (var family in ShaderLibrary.Keys.Select(k => k.Split('/')[0]).Distinct()) Assert.That(output, Does.Contain($"  {family} "));
        foreach (var bad in KnownBadDrivers.Table) Assert.That(output, Does.Contain(bad.Where));
        Assert.That(output, Does.Contain("FLA_DEVICE").And.Contain("FLA_VALIDATION"));
    }
}
