using Fla.Models.Training;
using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Models.Tests.Training;

public sealed class AdamWTests(TestDevice device) : DeviceTests(device)
{
    private static readonly AdamWSettings Settings = new(0.9, 0.95, 1e-8, 0.3);

    [Test]
    public void StepsFollowTheDefinition()
    {
        var weight = new RefTensor([.. Enumerable.Range(0, 12).Select(i => Math.Sin(i))], 3, 4);
        var norm = new RefTensor([.. Enumerable.Range(0, 4).Select(i => 1 + 0.1 * i)], 4);
        var (w, n) = (Parameter(weight), Parameter(norm));
        using var optimizer = new AdamW([new("a.weight", w), new("a_norm.weight", n)], Settings);
        var (mw, vw, mn, vn) = (Zero(3, 4), Zero(3, 4), Zero(4), Zero(4));
        for (var step = 1; step <= 3; step++)
        {
            var (gw, gn) = (Gradient(step, 3, 4), Gradient(step + 10, 4));
            w.Grad = Make(Single(gw), [3, 4]);
            n.Grad = Make(Single(gn), [4]);
            var clipped = Reference.ClipGradNorm([gw, gn], 1);
            var rate = 0.01 * step;
            optimizer.SetLearningRate(rate);
            Assert.That(optimizer.Step(1).ToSingle()[0], Is.EqualTo(clipped["norm"].Data[0]).Within(1e-5));
            var next = Reference.AdamW(weight, clipped["0"], mw, vw, step, rate, 0.9, 0.95, 1e-8, 0.3);
            (weight, mw, vw) = (next["param"], next["m"], next["v"]);
            next = Reference.AdamW(norm, clipped["1"], mn, vn, step, rate, 0.9, 0.95, 1e-8, weightDecay: 0);
            (norm, mn, vn) = (next["param"], next["m"], next["v"]);
        }
        Assert.That(w.ToSingle(), Is.EqualTo(Single(weight)).Within(2e-6), "decayed");
        Assert.That(n.ToSingle(), Is.EqualTo(Single(norm)).Within(2e-6), "not decayed");
        var state = optimizer.State().ToDictionary(s => s.Key, s => s.Value);
        Assert.That(state.Keys, Is.EquivalentTo(new[] { "step", "a.weight.m", "a.weight.v", "a_norm.weight.m", "a_norm.weight.v" }));
        Assert.That(state["step"].ToInt32(), Is.EqualTo(new[] { 3 }));
        Assert.That(state["a.weight.m"].ToSingle(), Is.EqualTo(Single(mw)).Within(2e-6));
    }

    [Test]
    public void MasterWeightsKeepWhatHalfPrecisionWouldLose()
    {
        var weight = Make([1, 1, 1, 1], [2, 2], DType.BFloat16);
        weight.RequiresGrad = true;
        using var optimizer = new AdamW([new("w", weight)], Settings with { WeightDecay = 0 });
        optimizer.SetLearningRate(1e-3);
        for (var i = 0; i < 8; i++)
        {
            weight.Grad = Make([1, 1, 1, 1], [2, 2], DType.BFloat16);
            optimizer.Step(double.PositiveInfinity);
        }
        // A step of 0.001 is lost in bf16, whose values below 1 are 0.0039 apart; eight of them are not.
        Assert.That(weight.ToSingle(), Is.All.EqualTo(0.9921875f));
        Assert.That(optimizer.State().Single(s => s.Key == "w.master").Value.ToSingle(), Is.All.EqualTo(0.992f).Within(1e-5f));
    }

    [TestCase("model.layers.0.attn.q_proj.weight", 4, 8, ExpectedResult = true)]
    [TestCase("model.layers.0.attn.q_conv1d.weight", 8, 1, 4, ExpectedResult = true)]
    [TestCase("model.layers.0.attn_norm.weight", 8, ExpectedResult = false)]
    [TestCase("model.layers.0.attn.o_proj.bias", 8, ExpectedResult = false)]
    [TestCase("model.layers.0.attn.x_r", 1, 1, 8, ExpectedResult = false)]
    [TestCase("backbone.layers.0.mixer.A_log", 8, 16, ExpectedResult = false)]
    [TestCase("A_log", 8, 16, ExpectedResult = false)]
    public bool DecaysMatricesOnly(string name, params int[] shape) => AdamW.IsDecayed(name, Tensor.Zeros(Device, DType.Float32, shape));

    [Test]
    public void NothingToDoIsAnError()
    {
        Assert.That(() => new AdamW([], Settings), Throws.TypeOf<TrainingException>());
        var weight = Parameter(Zero(4));
        using var optimizer = new AdamW([new("w", weight)], Settings);
        Assert.That(() => optimizer.Step(1), Throws.TypeOf<TrainingException>());
    }

    private static RefTensor Zero(params int[] shape) => RefTensor.Zeros(shape);

    private static RefTensor Gradient(int seed, params int[] shape) => new([.. Enumerable.Range(0, shape.Aggregate(1, (a, b) => a * b)).Select(i => Math.Cos(seed * 1.7 + i * 0.9))], shape);

    private static float[] Single(RefTensor x) => x.ToFloats();

    private Tensor Parameter(RefTensor value)
    {
        var tensor = Make(Single(value), value.Shape);
        tensor.RequiresGrad = true;
        return tensor;
    }
}
