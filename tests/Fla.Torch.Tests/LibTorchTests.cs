using Fla.Vulkan;
using NUnit.Framework;
using TorchSharp;

namespace Fla.Torch.Tests;

public sealed class LibTorchTests
{
    [Test]
    public void AdviceNamesThePackageOrTheSystem()
    {
        Assert.That(LibTorch.Advice("libLibTorchSharp.so: cannot open shared object file"), Does.Contain("libtorch-cpu-").And.Contain("2.10.0").And.Contain("cannot open"));
        Assert.That(LibTorch.Advice("/lib/x86_64-linux-gnu/libstdc++.so.6: version `GLIBCXX_3.4.32' not found (required by libLibTorchSharp.so)"),
            Does.Contain("Debian 12 is too old").And.Contain("GCC 13"));
    }

    [Test]
    public void ALibraryThatIsNotThereIsATypedError() =>
        Assert.That(() => LibTorch.Load("torch_cpu_of_nobody", "LibTorchSharpOfNobody"),
            Throws.TypeOf<LibTorchException>().And.InstanceOf<FlaException>().And.Message.Contains("reference the package libtorch-cpu-"));

    [Test]
    public void AModuleNeedsIt()
    {
        try
        {
            LibTorch.Require();
        }
        catch (LibTorchException)
        {
            Assert.That(() => new Torch.Modules.GatedMlp(8, 16), Throws.TypeOf<LibTorchException>());
            return;
        }
        Assert.That(() => new Torch.Modules.GatedMlp(8, 16, dtype: torch.ScalarType.Float64), Throws.TypeOf<DTypeException>());
    }

    [Test]
    public void VersionsArePytorchs()
    {
        try
        {
            LibTorch.Require();
        }
        catch (LibTorchException e)
        {
            Assert.Ignore(e.Message);
        }
        Assert.That(torch.__version__, Does.StartWith(LibTorch.PackageVersion));
        using var x = torch.ones(3);
        var before = LibTorch.Version(x);
        using var same = x.add_(1);
        Assert.That((before, LibTorch.Version(x)), Is.EqualTo((0L, 1L)));
        using var mode = torch.inference_mode();
        using var inference = torch.ones(3);
        Assert.That(LibTorch.Version(inference), Is.EqualTo(-1));
    }
}
