using Fla.Testing;
using NUnit.Framework;
using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch.Tests;

/// <summary>Base of tests with TorchSharp tensors: they run where its native library does, and leave nothing behind on either side.</summary>
public abstract class TorchTests(TestDevice device) : DeviceTests(device)
{
    private IDisposable? _device;
    private DisposeScope? _scope;

    [SetUp]
    public void OpenTorch()
    {
        try
        {
            LibTorch.Require();
        }
        catch (LibTorchException e)
        {
            Assert.Ignore(e.Message);
        }
        _device = TorchDevice.Use(Device);
        _scope = torch.NewDisposeScope();
        torch.manual_seed(7);
    }

    [TearDown]
    public void CloseTorch()
    {
        if (_scope == null) return;
        _scope.Dispose();
        _device!.Dispose();
        Leftovers.Dispose();
        // Tapes that no backward pass used are given back by finalizers.
        for (var round = 0; round < 2; round++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
    }

    /// <summary>A leaf of normal values.</summary>
    protected static Tensor Leaf(params long[] shape) => torch.randn(shape, requires_grad: true);

    /// <summary>A leaf of log gates: logsigmoid of normal values.</summary>
    protected static Tensor Gate(params long[] shape) => torch.nn.functional.logsigmoid(torch.randn(shape)).requires_grad_(true);

    /// <summary>The same values as an fp64 leaf.</summary>
    protected static Tensor Double(Tensor tensor) => tensor.detach().to(ScalarType.Float64).requires_grad_(tensor.requires_grad);

    /// <summary>Fails unless the error ratio is below a tolerance.</summary>
    protected static void AssertClose(Tensor? actual, Tensor? expected, double tolerance, string name)
    {
        Assert.That(actual is null, Is.False, $"{name} is missing");
        Assert.That(actual!.shape, Is.EqualTo(expected!.shape), $"shape of {name}");
        ErrorRatio.AssertClose(Values(actual), Values(expected), tolerance, name);
    }

    /// <summary>Runs both backwards from the same gradients and compares results and gradients.</summary>
    protected static void AssertSame(Tensor[] actual, Tensor[] expected, (string Name, Tensor Actual, Tensor Expected)[] leaves, double tolerance = 2e-5)
    {
        for (var i = 0; i < actual.Length; i++) AssertClose(actual[i], expected[i], tolerance, $"result {i}");
        var gradients = actual.Select(o => torch.randn_like(o)).ToArray();
        torch.autograd.backward(actual, gradients);
        torch.autograd.backward(expected, [.. gradients.Select(g => g.to(ScalarType.Float64))]);
        foreach (var (name, mine, reference) in leaves)
        {
            Assert.That(mine.grad!.dtype, Is.EqualTo(mine.dtype), $"type of the gradient of {name}");
            AssertClose(mine.grad, reference.grad, tolerance, $"gradient of {name}");
        }
    }

    private static float[] Values(Tensor tensor)
    {
        using var scope = torch.NewDisposeScope();
        return tensor.detach().to(ScalarType.Float32).contiguous().data<float>().ToArray();
    }
}
