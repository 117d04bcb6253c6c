using Fla.Testing;
using Fla.Torch.Modules;
using Fla.Vulkan;
using NUnit.Framework;
using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch.Tests.Modules;

/// <summary>What a TorchSharp user does with a module.</summary>
public sealed class ModuleTests(TestDevice device) : TorchTests(device)
{
    private const int Width = 32;

    [Test]
    public void TrainsInsideASequentialBesideTorchSharpsOwn()
    {
        using var model = nn.Sequential(("in", nn.Linear(8, Width)), ("mix", Create()), ("norm", nn.LayerNorm(Width)), ("out", nn.Linear(Width, 1)));
        using var optimizer = torch.optim.AdamW(model.parameters(), lr: 1e-2);
        var x = torch.randn(2, 12, 8);
        var target = x.cumsum(1).narrow(2, 0, 1).tanh();
        var losses = new List<float>();
        for (var step = 0; step < 25; step++)
        {
            using var scope = torch.NewDisposeScope();
            optimizer.zero_grad();
            var loss = nn.functional.mse_loss(model.forward(x), target);
            loss.backward();
            optimizer.step();
            losses.Add(loss.item<float>());
        }
        Assert.That(losses[^1], Is.LessThan(losses[0] / 4));
    }

    [Test]
    public void WeightsSurviveTorchSharpsFormatAndAreSeenAfterLoading()
    {
        using var folder = new TemporaryFolder();
        using var first = Create();
        using var second = Create();
        var x = torch.randn(1, 5, Width);
        // Both have been on the device before; load writes past PyTorch's version counter.
        var expected = first.forward(x);
        Assert.That(ErrorOf(second.forward(x), expected), Is.GreaterThan(1e-2));
        first.save(folder.File("weights.dat"));
        second.load(folder.File("weights.dat"));
        AssertClose(second.forward(x), expected, 1e-6, "loaded");

        using var third = Create();
        _ = third.forward(x);
        third.load_state_dict(first.state_dict());
        AssertClose(third.forward(x), expected, 1e-6, "load_state_dict");
    }

    [Test]
    public void ParametersAreUploadedWhenTheyChangedAndOnlyThen()
    {
        var layer = new DeviceModule<Fla.Layers.GatedMlp>(new Root(), (device, type) => new(device, Width, 40, dtype: type), ScalarType.Float32, m => m.Initialize(new(1)));
        using (layer)
        {
            layer.Synchronize();
            Assert.That(layer.Uploads, Is.EqualTo(3));
            var hosts = layer.Synchronize();
            Assert.That(layer.Uploads, Is.EqualTo(3));
            using (torch.no_grad()) hosts[1].mul_(2);
            layer.Synchronize();
            Assert.That(layer.Uploads, Is.EqualTo(4));
            hosts[2].bytes.Clear();
            layer.Synchronize();
            Assert.That(layer.Uploads, Is.EqualTo(5));
        }
    }

    [Test]
    public void ConvertsToOtherTypesAndBack()
    {
        using var layer = Create();
        var x = torch.randn(2, 6, Width);
        var expected = layer.forward(x);
        layer.to(ScalarType.BFloat16);
        Assert.That(layer.parameters().Select(p => p.dtype), Is.All.EqualTo(ScalarType.BFloat16));
        var half = layer.forward(x.to(ScalarType.BFloat16));
        Assert.That(half.dtype, Is.EqualTo(ScalarType.BFloat16));
        AssertClose(half, expected, 2e-2, "bf16");
        half.sum().backward();
        Assert.That(layer.parameters().Select(p => p.grad!.dtype), Is.All.EqualTo(ScalarType.BFloat16));
        Assert.That(() => layer.forward(x), Throws.TypeOf<DTypeException>());
        layer.to(ScalarType.Float32);
        AssertClose(layer.forward(x), expected, 2e-2, "back");
        layer.to(ScalarType.Float64);
        Assert.That(() => layer.forward(x.to(ScalarType.Float64)), Throws.TypeOf<DTypeException>().With.Message.Contains("fp32"));
    }

    [Test]
    public void FrozenParametersGetNoGradients()
    {
        using var layer = Create();
        layer.get_parameter("q_proj.weight")!.requires_grad = false;
        layer.forward(torch.randn(1, 5, Width)).sum().backward();
        Assert.That(layer.get_parameter("q_proj.weight")!.grad, Is.Null);
        Assert.That(layer.get_parameter("v_proj.weight")!.grad, Is.Not.Null);
    }

    [Test]
    public void TrainAndEvalReachTheDevice()
    {
        using var layer = new Watched();
        using var outer = nn.Sequential(layer);
        outer.train();
        Assert.That((layer.training, layer.IsTrainingOnDevice), Is.EqualTo((true, true)));
        layer.to(ScalarType.Float16);
        _ = layer.call(torch.randn(1, 2, Width).to(ScalarType.Float16));
        Assert.That(layer.IsTrainingOnDevice, "after a conversion");
        outer.eval();
        Assert.That((layer.training, layer.IsTrainingOnDevice), Is.EqualTo((false, false)));
    }

    [Test]
    public void InputsAndGradientsMayHaveAnyStrides()
    {
        using var layer = Create();
        var wide = Leaf(9, 2, 2 * Width);
        var x = wide.transpose(0, 1).slice(2, 0, 2 * Width, 2);
        var dense = x.detach().contiguous().requires_grad_(true);
        var (y, expected) = (layer.call(x), layer.call(dense));
        AssertClose(y, expected, 1e-6, "y");
        // Gradients that come back transposed, and one that is a single number over all.
        var dy = torch.randn(Width, 9, 2).permute(2, 1, 0);
        AssertClose(Gradient(y, wide, dy).transpose(0, 1).slice(2, 0, 2 * Width, 2), Gradient(expected, dense, dy.contiguous()), 1e-6, "permuted");
        var one = torch.ones(1, 1, 1).expand(2, 9, Width);
        AssertClose(Gradient(y, wide, one).transpose(0, 1).slice(2, 0, 2 * Width, 2), Gradient(expected, dense, one.contiguous()), 1e-6, "expanded");

        static Tensor Gradient(Tensor y, Tensor x, Tensor dy) => torch.autograd.grad([y], [x], [dy], retain_graph: true)[0];
    }

    [Test]
    public void WeightsGoToPythonAndBack()
    {
        using var folder = new TemporaryFolder();
        using var first = nn.Sequential(("mix", new LinearAttention(hidden_size: Width, num_heads: 2, tie_feature_map_qk: true)), ("norm", nn.BatchNorm1d(5)));
        using var second = nn.Sequential(("mix", new LinearAttention(hidden_size: Width, num_heads: 2, tie_feature_map_qk: true)), ("norm", nn.BatchNorm1d(5)));
        var x = torch.randn(2, 5, Width);
        first.eval();
        second.eval();
        _ = second.call(x);
        first.save_pickle(folder.File("state.pt"));
        using (var file = Fla.Models.Checkpoints.PytorchFile.Open(folder.File("state.pt"))) Assert.That(file.Tensors.Keys, Is.EquivalentTo(first.state_dict().Keys));
        second.load_pickle(folder.File("state.pt"));
        AssertClose(second.call(x), first.call(x), 1e-6, "load_pickle");
        first.to(ScalarType.BFloat16);
        first.save_pickle(folder.File("half.pt"));
        second.load_pickle(folder.File("half.pt"));
        var rounded = first.state_dict();
        foreach (var (key, value) in second.state_dict()) AssertClose(value, rounded[key], 1e-7, key);

        using var other = nn.Linear(3, 3);
        Assert.That(() => other.load_pickle(folder.File("state.pt")), Throws.TypeOf<Fla.Models.Checkpoints.CheckpointException>().With.Message.Contains("not in the module"));
        Assert.That(() => nn.Linear(3, 3).load_pickle(Golden.Path("pytorch/call.pt")), Throws.TypeOf<Fla.Models.Checkpoints.CheckpointException>().With.Message.Contains("print"));
    }

    [Test]
    public void AStateDictOfPythonIsLoaded()
    {
        using var module = nn.Sequential(("0", nn.Linear(3, 2)), ("1", nn.BatchNorm1d(2)));
        module.load_pickle(Golden.Path("pytorch/module.pt"));
        // make.py fills the i-th parameter with arange / 2 + i.
        foreach (var (parameter, i) in module.parameters().Select((p, i) => (p, i)))
        {
            AssertClose(parameter, torch.arange(parameter.numel(), dtype: ScalarType.Float32).reshape(parameter.shape) / 2 + i, 1e-7, $"parameter {i}");
        }
    }

    [Test]
    public void TheSeedIsPytorchs()
    {
        torch.manual_seed(3);
        using var first = Create();
        torch.manual_seed(3);
        using var second = Create();
        using var third = Create();
        AssertClose(first.get_parameter("q_proj.weight"), second.get_parameter("q_proj.weight"), 1e-9, "same seed");
        Assert.That(ErrorOf(third.get_parameter("q_proj.weight")!, first.get_parameter("q_proj.weight")!), Is.GreaterThan(0.5));
    }

    [Test]
    public void DisposingAModuleFreesBothSides()
    {
        var tensors = DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount;
        var memory = Device.Memory.Allocations;
        using (torch.NewDisposeScope())
        {
            var layer = Create();
            Assert.That(Device.Memory.Allocations, Is.GreaterThan(memory));
            _ = layer.forward(torch.randn(1, 4, Width)).sum();
            layer.Dispose();
        }
        Assert.That(DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount, Is.EqualTo(tensors));
    }

    [Test]
    public void TrainingInScopesLeavesNothingBehind()
    {
        using var model = nn.Sequential(("mix", Create()), ("out", nn.Linear(Width, 3)));
        using var optimizer = torch.optim.SGD(model.parameters(), 0.1);
        var (x, y) = (torch.randn(2, 6, Width), torch.randn(2, 6, 3));
        Step();
        var tensors = DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount;
        var memory = Device.Memory.Allocations;
        for (var i = 0; i < 3; i++) Step();
        Assert.That(DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount, Is.EqualTo(tensors));
        Assert.That(Device.Memory.Allocations, Is.EqualTo(memory));

        void Step()
        {
            using var scope = torch.NewDisposeScope();
            optimizer.zero_grad();
            nn.functional.mse_loss(model.forward(x), y).backward();
            optimizer.step();
        }
    }

    [Test]
    public void AForgottenModuleIsCollected()
    {
        var memory = Device.Memory.Allocations;
        Forget();
        for (var round = 0; round < 2; round++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        Assert.That(Device.Memory.Allocations, Is.EqualTo(memory));

        [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
        static void Forget()
        {
            using var scope = torch.NewDisposeScope();
            _ = Create().forward(torch.randn(1, 4, Width));
        }
    }

    [Test]
    public void ThreadsShareAModule()
    {
        using var layer = Create();
        var inputs = Enumerable.Range(0, 3).Select(_ => Leaf(1, 6, Width)).ToArray();
        var alone = inputs.Select(Gradient).ToArray();
        var together = new Tensor[inputs.Length];
        var threads = inputs.Select((x, i) => new Thread(() => together[i] = Gradient(x))).ToList();
        threads.ForEach(t => t.Start());
        threads.ForEach(t => t.Join());
        for (var i = 0; i < inputs.Length; i++) AssertClose(together[i], alone[i], 1e-6, $"thread {i}");

        Tensor Gradient(Tensor x) => torch.autograd.grad([layer.forward(x).square().sum()], [layer.get_parameter("o_proj.weight")!])[0];
    }

    private static GatedLinearAttention Create() => new(hidden_size: Width, num_heads: 2);

    private static double ErrorOf(Tensor x, Tensor y) => (x - y).norm().item<float>() / y.norm().item<float>();

    private sealed class Watched() : TorchModule<Fla.Layers.GatedMlp>((device, type) => new(device, Width, 40, dtype: type), (module, x) => module.Forward(x))
    {
        public bool IsTrainingOnDevice => OnDevice.Module.IsTraining;
    }

    private sealed class Root() : nn.Module("root");
}
