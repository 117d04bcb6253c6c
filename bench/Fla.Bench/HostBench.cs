using BenchmarkDotNet.Attributes;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Bench;

/// <summary>What the host does for the device: recording a launch, submitting a captured step, taking and giving back memory.</summary>
[MemoryDiagnoser]
public class HostBench
{
    private const int Launches = 64;

    private ComputeDevice _device = null!;
    private Tensor _x = null!;
    private CommandGraph _graph = null!;

    /// <summary>Opens the device that FLA_DEVICE names and captures a step of many launches.</summary>
    [GlobalSetup]
    public void Open()
    {
        _device = ComputeDevice.Create();
        _x = Tensor.Full(_device, DType.Float32, 1, 256);
        Launch();
        _graph = _device.Stream.Capture(Launch);
        _device.Synchronize();
    }

    /// <summary>Closes it.</summary>
    [GlobalCleanup]
    public void Close()
    {
        _device.Synchronize();
        _graph.Dispose();
        _x.Dispose();
        _device.Dispose();
    }

    /// <summary>Launches of a small kernel, recorded, submitted and awaited.</summary>
    [Benchmark(OperationsPerInvoke = Launches)]
    public void LaunchAndWait()
    {
        Launch();
        _device.Synchronize();
    }

    /// <summary>The same launches, captured: submitted and awaited.</summary>
    [Benchmark]
    public void ReplayAndWait()
    {
        _graph.Replay();
        _device.Synchronize();
    }

    /// <summary>A tensor of a megabyte, made and given back.</summary>
    [Benchmark]
    public void TakeMemory() => Tensor.Empty(_device, DType.Float32, 1 << 18).Dispose();

    private void Launch()
    {
        using var off = Autograd.NoGrad();
        for (var i = 0; i < Launches; i++)
        {
            using var y = Activations.Silu(_x);
        }
    }
}
