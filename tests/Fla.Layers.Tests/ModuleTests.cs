using Fla.Testing;
using Fla.Vulkan;
using NUnit.Framework;

namespace Fla.Layers.Tests;

public sealed class ModuleTests(TestDevice device) : DeviceTests(device)
{
    [Test]
    public void NamesAndOrderAreThoseOfTheStateDict()
    {
        using var mlp = new GatedMlp(Device, 8, 16);
        Assert.That(mlp.StateDict().Select(p => p.Key), Is.EqualTo(new[] { "gate_proj.weight", "up_proj.weight", "down_proj.weight" }));
        Assert.That(mlp.ParameterCount, Is.EqualTo(3 * 8 * 16));
        Assert.That(mlp.Parameters().Select(p => p.RequiresGrad), Is.All.True);
    }

    [Test]
    public void ASharedModuleIsCountedOnceAndNamedTwice()
    {
        using var layer = new LinearAttention(Device, new() { HiddenSize = 8, NumHeads = 2, FeatureMap = "t2r", TieFeatureMapQk = true });
        var state = layer.StateDict().ToDictionary(p => p.Key, p => p.Value);
        Assert.That(state["feature_map_q.layer.weight"], Is.SameAs(state["feature_map_k.layer.weight"]));
        Assert.That(layer.NamedParameters().Select(p => p.Key), Does.Contain("feature_map_q.layer.weight").And.Not.Contain("feature_map_k.layer.weight"));
    }

    [Test]
    public void ParametersOutliveScopes()
    {
        Linear linear;
        using (Device.Scope()) linear = new Linear(Device, 3, 2, hasBias: true);
        using (linear)
        {
            linear.Initialize(new Initializer(1));
            Assert.That(linear.Weight.ToSingle(), Has.Length.EqualTo(6));
            Assert.That(linear.Bias!.ToSingle(), Is.All.EqualTo(0));
        }
        Assert.That(linear.Weight.IsDisposed);
    }

    [Test]
    public void ModesReachEveryModule()
    {
        using var layer = new MultiScaleRetention(Device, new() { HiddenSize = 8, NumHeads = 2 });
        Assert.That(All(layer).Select(m => m.IsTraining), Is.All.False);
        layer.Train();
        Assert.That(All(layer).Select(m => m.IsTraining), Is.All.True);
        layer.Eval();
        Assert.That(All(layer).Select(m => m.IsTraining), Is.All.False);

        static IEnumerable<Module> All(Module module) => module.Children.SelectMany(c => All(c.Module)).Prepend(module);
    }

    [Test]
    public void GradientsCanBeTurnedOffAndCleared()
    {
        using var linear = new Linear(Device, 3, 2);
        linear.Initialize(new Initializer(1));
        var x = Make([1, 2, 3], [1, 3]);
        Autograd.Backward(linear.Forward(x), Make([1, 1], [1, 2]));
        Assert.That(linear.Weight.Grad!.ToSingle(), Is.EqualTo(new float[] { 1, 2, 3, 1, 2, 3 }));
        linear.ClearGradients();
        Assert.That(linear.Weight.Grad, Is.Null);
        linear.RequireGradients(false);
        Assert.That(linear.Forward(x).RequiresGrad, Is.False);
    }

    [Test]
    public void TheHedgehogMapStartsAsTheIdentity()
    {
        using var map = new HedgehogFeatureMap(Device, 3);
        map.Initialize(new Initializer(1));
        var state = map.StateDict().ToDictionary(p => p.Key, p => p.Value.ToSingle());
        Assert.That(state["layer.weight"], Is.EqualTo(new float[] { 1, 0, 0, 0, 1, 0, 0, 0, 1 }));
        Assert.That(state["layer.bias"], Is.All.EqualTo(0));
    }

    [Test]
    public void AModuleThatCannotBeMadeGivesItsMemoryBack()
    {
        Assert.That(() => new HalfMade(Device, new InvalidOperationException("no")), Throws.InvalidOperationException);
        Assert.That(() => new Linear(Device, -1, 2, hasBias: true), Throws.TypeOf<ShapeException>());
        using var whole = new HalfMade(Device, null);
        Assert.That(whole.Parameters().Count(), Is.EqualTo(3));
    }

    [Test]
    public void FreshValuesDependOnSeedAndName()
    {
        float[] Draw(ulong seed, string name)
        {
            var tensor = Tensor.Empty(Device, DType.Float32, 1001);
            new Initializer(seed, 0.5).Normal(tensor, name);
            return tensor.ToSingle();
        }

        var first = Draw(1, "a");
        Assert.That(Draw(1, "a"), Is.EqualTo(first));
        Assert.That(Draw(2, "a"), Is.Not.EqualTo(first));
        Assert.That(Draw(1, "b"), Is.Not.EqualTo(first));
        Assert.That(first.Average(), Is.EqualTo(0).Within(0.06));
        Assert.That(Math.Sqrt(first.Average(x => (double)x * x)), Is.EqualTo(0.5).Within(0.05));
        Assert.That(first.Count(x => Math.Abs(x) < 0.5) / 1001.0, Is.EqualTo(0.683).Within(0.05), "a normal distribution has 68 % within its deviation");
    }

    private sealed class HalfMade : Module
    {
        public HalfMade(ComputeDevice device, Exception? failure)
            : base(device, DType.Float32)
        {
            AddParameter("first", WeightRules.Zero, 3);
            AddModule("second", () => new Linear(device, 2, 2));
            AddModule("third", () => failure is null ? new Linear(device, 2, 2) : throw failure);
        }
    }
}
