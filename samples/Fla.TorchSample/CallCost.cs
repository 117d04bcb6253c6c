using System.Diagnostics;
using Fla.Layers;
using Fla.Torch;
using Fla.Vulkan;
using TorchSharp;
using static TorchSharp.torch;
using DeviceTensor = Fla.Vulkan.Tensor;

namespace Fla.TorchSample;

/// <summary>What a layer's call costs from TorchSharp, beside the same layer on tensors that are on the device already.</summary>
internal static class CallCost
{
    private const double SecondsEach = 1.5;

    public static void Measure()
    {
        var device = TorchDevice.Default;
        Console.WriteLine($"GatedLinearAttention, fp32, {device.Name}; median milliseconds of a call, and MB that cross in it");
        Console.WriteLine("   B     T     D |  forward: on device  from TorchSharp   MB |  and backward: on device  from TorchSharp   MB");
        foreach (var (batch, length, width) in new[] { (1, 16, 64), (4, 64, 128), (4, 256, 256), (4, 512, 512), (8, 1024, 1024) })
        {
            if (device.IsCpu && width > 512) continue;
            using var scope = torch.NewDisposeScope();
            using var layer = new Fla.Torch.Modules.GatedLinearAttention(hidden_size: width, num_heads: 4);
            using var onDevice = new GatedLinearAttention(device, new() { HiddenSize = width, NumHeads = 4 });
            onDevice.Initialize(new Initializer(1));
            var x = torch.randn(batch, length, width, requires_grad: true);
            var dy = torch.randn(batch, length, width);
            using var deviceX = DeviceTensor.From(device, x.data<float>().ToArray(), [batch, length, width]).Own();
            using var deviceDy = DeviceTensor.From(device, dy.data<float>().ToArray(), [batch, length, width]).Own();
            deviceX.RequiresGrad = true;

            var forwardDevice = Median(() => ForwardOnDevice(onDevice, deviceX, device));
            var forwardTorch = Median(() => Forward(layer, x));
            var bothDevice = Median(() => BackwardOnDevice(onDevice, deviceX, deviceDy, device));
            var bothTorch = Median(() => Backward(layer, x, dy));
            var activation = 4e-6 * batch * length * width;
            var gradients = 4e-6 * layer.parameters().Sum(p => p.numel());
            Console.WriteLine($"{batch,4}{length,6}{width,6} |{forwardDevice,20:0.00}{forwardTorch,17:0.00}{2 * activation,5:0.0} |{bothDevice,25:0.00}{bothTorch,17:0.00}{4 * activation + gradients,5:0.0}");
        }
        device.Dispose();
    }

    private static void ForwardOnDevice(GatedLinearAttention layer, DeviceTensor x, ComputeDevice device)
    {
        using var scope = device.Scope();
        using var grad = Autograd.NoGrad();
        _ = layer.Forward(x);
        device.Synchronize();
    }

    private static void Forward(nn.Module<torch.Tensor, torch.Tensor> layer, torch.Tensor x)
    {
        using var scope = torch.NewDisposeScope();
        using var grad = torch.no_grad();
        _ = layer.call(x);
    }

    private static void BackwardOnDevice(GatedLinearAttention layer, DeviceTensor x, DeviceTensor dy, ComputeDevice device)
    {
        using var scope = device.Scope();
        Autograd.Backward(layer.Forward(x), dy);
        x.Grad = null;
        layer.ClearGradients();
        device.Synchronize();
    }

    private static void Backward(nn.Module<torch.Tensor, torch.Tensor> layer, torch.Tensor x, torch.Tensor dy)
    {
        using var scope = torch.NewDisposeScope();
        layer.call(x).backward([dy]);
        layer.zero_grad();
        x.grad = null;
    }

    private static double Median(Action call)
    {
        for (var watch = Stopwatch.StartNew(); watch.Elapsed.TotalSeconds < SecondsEach / 2;) call();
        var times = new List<double>();
        for (var total = Stopwatch.StartNew(); total.Elapsed.TotalSeconds < SecondsEach || times.Count < 5;)
        {
            var watch = Stopwatch.StartNew();
            call();
            times.Add(watch.Elapsed.TotalMilliseconds);
        }
        return times.Order().ElementAt(times.Count / 2);
    }
}
