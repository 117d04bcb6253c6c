using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Cli.Benchmarks;

/// <summary>What the device at hand can do: the rates that every other figure is held against.</summary>
/// <param name="CopyBytes">Bytes a second of a device-to-device copy by a kernel, read and written bytes together.</param>
/// <param name="ProductFlops">Operations a second of the library's product of large matrices.</param>
internal sealed record BenchRoofs(double CopyBytes, double ProductFlops)
{
    /// <summary>Measures both, in a second or two.</summary>
    public static BenchRoofs Measure(ComputeDevice device, DType type)
    {
        using var scope = device.Scope();
        var bytes = device.IsCpu ? 64 << 20 : 1 << 30;
        var from = RandomTensors.Bits(device, 1, 0, bytes / 4);
        var to = Tensor.EmptyLike(from);
        var copy = 2e3 * bytes / BenchTimer.Run(device, () => to.CopyFrom(from)).Median;
        var n = device.IsCpu ? 512 : 8192;
        Tensor a = RandomTensors.Normal(device, type, 2, 0, [n, n]), b = RandomTensors.Normal(device, type, 3, 0, [n, n]);
        var product = 2e3 * n * n * n / BenchTimer.Run(device, () => Products.MatMul(a, b, transB: true)).Median;
        return new(copy, product);
    }

    /// <summary>Milliseconds below which no run can stay.</summary>
    public double Floor(Work work) => 1000 * Math.Max(work.Bytes / CopyBytes, work.Flops / ProductFlops);

    /// <summary>The device, with these rates.</summary>
    public BenchMachine Describe(ComputeDevice device, DType type) =>
        new(device.Name, device.Info.Driver, $"{device.Info.ApiVersion}", System.Runtime.InteropServices.RuntimeInformation.OSDescription, device.MatrixShape(type)?.ToString(),
            CopyBytes / 1e9, ProductFlops / 1e12);
}
