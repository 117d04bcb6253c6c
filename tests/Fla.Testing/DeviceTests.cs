using Fla.Vulkan;
using NUnit.Framework;

namespace Fla.Testing;

/// <summary>A device opened in one way; every device test runs on each.</summary>
/// <param name="Name">"plain" or "coopmat".</param>
/// <param name="Options">How it is opened.</param>
public sealed record TestDevice(string Name, DeviceOptions Options)
{
    private readonly Lazy<ComputeDevice> _device = new(() => ComputeDevice.Create(Options));

    /// <summary>The device, opened on first use and shared by all tests of the process.</summary>
    public ComputeDevice Device => _device.Value;

    /// <inheritdoc/>
    public override string ToString() => Name;
}

/// <summary>The ways in which this machine's device can be opened.</summary>
public static class TestDevices
{
    /// <summary>Plain arithmetic over poisoned memory between sentinels, all copies through staging, and, where the driver has them, cooperative matrices.</summary>
    public static IReadOnlyList<TestDevice> All { get; } = Find();

    private static List<TestDevice> Find()
    {
        var environment = DeviceOptions.FromEnvironment();
        var devices = new List<TestDevice>
        {
            new("plain", environment with { Disable = [.. environment.Disable, "cooperative_matrix", "mapped_memory"], PoisonMemory = true }),
        };
        using var probe = ComputeDevice.Create(environment);
        if (probe.MatrixShape(DType.Float16) != null || probe.MatrixShape(DType.BFloat16) != null) devices.Add(new("coopmat", environment));
        else TestContext.Progress.WriteLine($"not exercised: cooperative matrices ({string.Join("; ", probe.Features.Notes)})");
        return devices;
    }
}

/// <summary>Base of tests that need a device: no test leaves device memory behind, and the validation layers stay silent.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.All))]
public abstract class DeviceTests(TestDevice device)
{
    private TensorScope? _scope;
    private int _before;

    /// <summary>The device under test.</summary>
    protected ComputeDevice Device => device.Device;

    [SetUp]
    public void OpenScope()
    {
        _before = Device.Memory.Allocations;
        _scope = Device.Scope();
    }

    [TearDown]
    public void NothingIsLeftBehind()
    {
        _scope?.Dispose();
        Device.Synchronize();
        Assert.That(Device.Memory.Allocations, Is.EqualTo(_before), "allocations left by the test");
        var said = new List<string>();
        while (ComputeDevice.TryTakeValidationMessage(out var message)) said.Add(message);
        Assert.That(said, Is.Empty, "validation messages");
    }

    /// <summary>A float tensor of the given values.</summary>
    protected Tensor Make(float[] values, ReadOnlySpan<int> shape, DType type = DType.Float32) => Tensor.From(Device, values, shape, type);
}
