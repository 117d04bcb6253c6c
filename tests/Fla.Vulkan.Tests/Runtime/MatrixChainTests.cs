using Fla.Testing;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Runtime;

public sealed class MatrixChainTests(TestDevice device) : DeviceTests(device)
{
    [Test]
    public void OnlyMatricesChainAndNoneWhenSwitchedOff()
    {
        Assert.That(Device.HasMatrixChain(DType.Float32), Is.False);
        foreach (var type in new[] { DType.Float16, DType.BFloat16 })
        {
            TestContext.Out.WriteLine($"{Device.Name}, {type}: {Device.HasMatrixChain(type)}");
            if (Device.HasMatrixChain(type)) Assert.That(Device.MatrixShape(type), Is.Not.Null);
        }
        using var without = ComputeDevice.Create(Device.Options with { Disable = [.. Device.Options.Disable, "matrix_chain"] });
        Assert.That(without.HasMatrixChain(DType.Float16) || without.HasMatrixChain(DType.BFloat16), Is.False);
    }
}
