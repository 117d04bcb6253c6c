using Fla.Testing;
using Fla.Vulkan;
using NUnit.Framework;
using TorchSharp;
using static Fla.Torch.fla;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch.Tests;

/// <summary>Every kind of TorchSharp tensor, and every way to go back through one.</summary>
public sealed class CrossingTests(TestDevice device) : TorchTests(device)
{
    private static readonly long[] Shape = [2, 9, 2, 16];

    [Test]
    public void StridesAndSlicesAreFlattened()
    {
        var wide = Leaf(2, 2, 20, 16);
        var wideD = Double(wide);
        // Transposed and sliced q, a broadcast k, v from every second column.
        var k = Leaf(1, 9, 1, 16);
        var kd = Double(k);
        var v = Leaf(2, 9, 2, 32);
        var vd = Double(v);
        var g = Gate(Shape);
        AssertSame([Strided(wide, k, v, g, (q, k, v, g) => chunk_gla(q, k, v, g).o)], [Strided(wideD, kd, vd, Double(g), (q, k, v, g) => Recurrences.Linear(q, k, v, g).O)],
            [("q", wide, wideD), ("k", k, kd), ("v", v, vd)]);

        static Tensor Strided(Tensor q, Tensor k, Tensor v, Tensor g, Func<Tensor, Tensor, Tensor, Tensor, Tensor> run) =>
            run(q.transpose(1, 2).narrow(1, 5, 9), k.expand(2, 9, 2, 16), v.slice(3, 0, 32, 2), g);
    }

    [TestCase(ScalarType.Float16, 5e-3)]
    [TestCase(ScalarType.BFloat16, 3e-2)]
    public void HalfTypesKeepTheirType(ScalarType type, double tolerance)
    {
        var inputs = new[] { Leaf(Shape), Leaf(Shape), Leaf(Shape), Gate(Shape) }.Select(t => t.detach().to(type).requires_grad_(true)).ToArray();
        var doubles = inputs.Select(Double).ToArray();
        var (o, state) = chunk_gla(inputs[0], inputs[1], inputs[2], inputs[3], output_final_state: true);
        Assert.That(o.dtype, Is.EqualTo(type));
        Assert.That(state!.dtype, Is.EqualTo(ScalarType.Float32));
        var (od, stateD) = Recurrences.Linear(doubles[0], doubles[1], doubles[2], doubles[3]);
        AssertSame([o, state], [od, stateD], [.. inputs.Select((t, i) => ($"input {i}", t, doubles[i]))], tolerance);
    }

    [Test]
    public void LargeTensorsAreReadAndWrittenWhereTheyLie()
    {
        // More than what is worth an import, at an odd place in its memory.
        var memory = torch.randn(1 + (9 << 20));
        var x = memory.narrow(0, 1, 9 << 20).reshape(9 << 10, 1024);
        AssertClose(l2_norm(x), x / x.norm(-1, keepdim: true), 1e-5, "l2_norm");
    }

    [Test]
    public void ResultsLieInMemoryThatIsUsedAgain()
    {
        var x = torch.randn(600, 512);
        var expected = x / x.norm(-1, keepdim: true);
        var first = l2_norm(x);
        var second = l2_norm(x);
        var address = Address(first);
        Assert.That(Address(second), Is.Not.EqualTo(address));
        // A view holds the memory too.
        var view = first.narrow(0, 7, 3);
        first.Dispose();
        Assert.That(Address(l2_norm(x)), Is.Not.EqualTo(address));
        AssertClose(view, expected.narrow(0, 7, 3), 1e-5, "view");
        view.Dispose();
        var again = l2_norm(x);
        Assert.That(Address(again), Is.EqualTo(address));
        AssertClose(again, expected, 1e-5, "again");
        AssertClose(second, expected, 1e-5, "the one that was held");
        AssertClose(again.mul_(2), expected * 2, 1e-5, "written to");

        static unsafe nint Address(Tensor t)
        {
            fixed (byte* p = t.bytes) return (nint)p;
        }
    }

    [Test]
    public void AStridedInputIsFlattenedInMemoryOfThePool()
    {
        var lent = LentTensors.Count;
        var x = torch.randn(512, 600).t();
        using (var y = l2_norm(x)) AssertClose(y, x / x.norm(-1, keepdim: true), 1e-5, "l2_norm");
        Assert.That(LentTensors.Count, Is.EqualTo(lent));
    }

    [Test]
    public void GradientsOfLeavesAreTakenOverAndNotCopied()
    {
        var lent = LentTensors.Count;
        var x = Leaf(600, 512);
        var xd = Double(x);
        using (torch.NewDisposeScope())
        {
            l2_norm(x).sum().backward();
            (xd / xd.norm(-1, keepdim: true)).sum().backward();
        }
        Leftovers.Dispose();
        AssertClose(x.grad, xd.grad, 1e-4, "gradient");
        Assert.That(LentTensors.Count, Is.EqualTo(lent + 1), "the gradient lies where the device left it");
        using (torch.NewDisposeScope()) l2_norm(x).sum().backward();
        Leftovers.Dispose();
        AssertClose(x.grad, xd.grad! * 2, 1e-4, "accumulated");
        Assert.That(LentTensors.Count, Is.EqualTo(lent + 1));
        x.grad!.Dispose();
        x.grad = null;
    }

    [Test]
    public void AResultOutlivesTheDevice()
    {
        var x = torch.randn(600, 512);
        Tensor y;
        using (var device = ComputeDevice.Create(Device.Options))
        {
            using var chosen = TorchDevice.Use(device);
            y = l2_norm(x);
        }
        AssertClose(y, x / x.norm(-1, keepdim: true), 1e-5, "y");
        y.Dispose();
    }

    [Test]
    public void OtherTypesAreATypedError()
    {
        var x = torch.randn(Shape);
        Assert.That(() => chunk_retention(x.to(ScalarType.Float64), x, x), Throws.TypeOf<DTypeException>().With.Message.Contains("fp32"));
        Assert.That(() => chunk_retention(x.to(ScalarType.ComplexFloat32), x, x), Throws.TypeOf<DTypeException>());
        Assert.That(() => chunk_retention(x.to(ScalarType.Float16), x, x), Throws.TypeOf<DTypeException>());
        Assert.That(() => chunk_retention(x.to(torch.META), x, x), Throws.TypeOf<DeviceException>().With.Message.Contains("cpu()"));
        Assert.That(() => chunk_retention(x, x, x, cu_seqlens: torch.tensor(new float[] { 0, 9 })), Throws.TypeOf<DTypeException>());
        Assert.That(() => chunk_retention(x, torch.randn(2, 9, 3, 16), x), Throws.TypeOf<ShapeException>());
    }

    [Test]
    public void OnlyWhatWantsGradientsGetsThem()
    {
        var (q, k, v, g) = (torch.randn(Shape), Leaf(Shape), torch.randn(Shape), Gate(Shape).detach());
        var (o, _) = chunk_gla(q, k, v, g);
        o.sum().backward();
        Assert.That(q.grad, Is.Null);
        Assert.That(k.grad!.shape, Is.EqualTo(Shape));
        Assert.That(chunk_gla(q, k.detach(), v, g).o.requires_grad, Is.False);
        using (torch.no_grad()) Assert.That(chunk_gla(q, k, v, g).o.requires_grad, Is.False);
        using (torch.inference_mode()) Assert.That(chunk_gla(q, k, v, g).o.requires_grad, Is.False);
    }

    [Test]
    public void AGradientMayFlowThroughTheStateAlone()
    {
        var (q, k, v) = (Leaf(Shape), Leaf(Shape), Leaf(Shape));
        var (qd, kd, vd) = (Double(q), Double(k), Double(v));
        chunk_retention(q, k, v, output_final_state: true).final_state!.sum().backward();
        Recurrences.Linear(qd, kd, vd, Recurrences.RetentionDecay(2)).State.sum().backward();
        AssertClose(k.grad, kd.grad, 2e-5, "k");
        AssertClose(v.grad, vd.grad, 2e-5, "v");
        if (q.grad is { } dq) Assert.That(dq.abs().max().item<float>(), Is.Zero);
    }

    [Test]
    public void PackedSequencesAreApart()
    {
        var (q, k, v) = (Leaf(1, 13, 2, 16), Leaf(1, 13, 2, 16), Leaf(1, 13, 2, 16));
        var packed = chunk_retention(q, k, v, cu_seqlens: torch.tensor(new long[] { 0, 5, 13 })).o;
        var apart = torch.cat([Part(0, 5), Part(5, 8)], 1);
        AssertClose(packed, apart, 1e-5, "o");
        var dy = torch.randn_like(packed);
        var gradients = new[] { packed, apart }.Select(o => torch.autograd.grad([o], [q, k, v], [dy])).ToArray();
        for (var i = 0; i < 3; i++) AssertClose(gradients[0][i], gradients[1][i], 1e-5, $"gradient {i}");

        Tensor Part(int start, int length) => chunk_retention(q.narrow(1, start, length), k.narrow(1, start, length), v.narrow(1, start, length)).o;
    }

    [Test]
    public void AnEmptyBatchGivesEmptyResultsAndGradients()
    {
        var (q, k, v) = (Leaf(0, 9, 2, 16), Leaf(0, 9, 2, 16), Leaf(0, 9, 2, 24));
        var (o, state) = chunk_retention(q, k, v, output_final_state: true);
        Assert.That(o.shape, Is.EqualTo(new long[] { 0, 9, 2, 24 }));
        Assert.That(state!.shape, Is.EqualTo(new long[] { 0, 2, 16, 24 }));
        o.sum().backward();
        Assert.That(v.grad!.shape, Is.EqualTo(new long[] { 0, 9, 2, 24 }));
    }

    [Test]
    public void TheGraphCanBeRetained()
    {
        var (q, k, v) = (Leaf(Shape), Leaf(Shape), Leaf(Shape));
        var loss = chunk_retention(q, k, v).o.square().sum();
        loss.backward(retain_graph: true);
        var once = q.grad!.clone();
        loss.backward();
        AssertClose(q.grad, once * 2, 1e-6, "twice the gradient");
    }

    [TestCase(ScalarType.Float32)]
    [TestCase(ScalarType.BFloat16)]
    public void ASecondDerivativeIsATypedErrorAndNotAConstant(ScalarType type)
    {
        var inputs = Enumerable.Range(0, 3).Select(_ => Leaf(Shape).detach().to(type).requires_grad_(true)).ToArray();
        var (q, k, v) = (inputs[0], inputs[1], inputs[2]);
        var once = torch.autograd.grad([chunk_retention(q, k, v).o.square().sum()], [q])[0];
        var dq = torch.autograd.grad([chunk_retention(q, k, v).o.square().sum()], [q], create_graph: true)[0];
        // The gradient itself is one like any other, and may be used as a value.
        Assert.That((dq.requires_grad, dq.dtype), Is.EqualTo((true, type)));
        AssertClose(dq, once, 1e-6, "gradient");
        (dq.detach().sum() * q.sum()).backward();
        q.grad = null;

        var said = Said(() => Assert.That(() => (dq.square().sum() + q.sum()).backward(), Throws.Exception.With.Message.Contains("invalid gradient")));
        Assert.That(TorchBackward.LastError, Is.TypeOf<SecondDerivativeException>().With.Message.Contains("chunk_retention has no second derivative"));
        Assert.That(said, Does.StartWith("fla: the backward pass of chunk_retention failed: ").And.Contain("create_graph"));
    }

    [Test]
    public void APenaltyOnTheGradientOfALayerIsATypedErrorToo()
    {
        using var layer = new Torch.Modules.GatedMlp(16, 24);
        var x = Leaf(1, 3, 16);
        var dx = torch.autograd.grad([layer.call(x).sum()], [x], create_graph: true)[0];
        Said(() => Assert.That(() => dx.square().sum().backward(), Throws.Exception));
        Assert.That(TorchBackward.LastError, Is.TypeOf<SecondDerivativeException>().With.Message.Contains("GatedMlp"));
    }

    [Test]
    public void AFailedBackwardPassIsAnExceptionWithACause()
    {
        var (q, k, v) = (Leaf(Shape), Leaf(Shape), Leaf(Shape));
        var q2 = q * 1;
        var loss = chunk_retention(q2, k, v).o.sum();
        loss.backward(retain_graph: true);
        // The second pass needs q again, which is not what it was.
        q2.add_(1);
        var said = Said(() => Assert.That(() => loss.backward(), Throws.Exception.With.Message.Contains("invalid gradient")));
        Assert.That(TorchBackward.LastError!.Message, Does.Contain("inplace"));
        Assert.That(said, Does.StartWith("fla: the backward pass of chunk_retention failed: ").And.Contain("inplace"));
    }

    [TestCase(9)]
    [TestCase(600)]
    public void SeveralThreadsCanWorkAtOnce(int length)
    {
        long[] shape = [2, length, 8, 32];
        var inputs = Enumerable.Range(0, 4).Select(_ => new[] { Leaf(shape), Leaf(shape), Leaf(shape) }).ToArray();
        var alone = inputs.Select(Gradient).ToArray();
        var together = new Tensor[inputs.Length];
        var threads = inputs.Select((input, i) => new Thread(() =>
        {
            using var device = TorchDevice.Use(Device);
            for (var round = 0; round < 3; round++) together[i] = Gradient(input);
            Leftovers.Dispose();
        })).ToList();
        threads.ForEach(t => t.Start());
        threads.ForEach(t => t.Join());
        for (var i = 0; i < inputs.Length; i++) AssertClose(together[i], alone[i], 1e-6, $"thread {i}");

        static Tensor Gradient(Tensor[] t) => torch.autograd.grad([chunk_retention(t[0], t[1], t[2]).o.square().sum()], [t[0]])[0];
    }

    [TestCase(9)]
    [TestCase(600)]
    public void AScopeTakesAllTensorsOfACall(int length)
    {
        var (q, k, v) = (Leaf(2, length, 8, 64), Leaf(2, length, 8, 64), Leaf(2, length, 8, 64));
        var lent = LentTensors.Count;
        Step();
        Leftovers.Dispose();
        var before = DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount;
        for (var i = 0; i < 3; i++) Step();
        Leftovers.Dispose();
        Assert.That(DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount, Is.EqualTo(before));
        Assert.That(LentTensors.Count, Is.EqualTo(lent));

        void Step()
        {
            using var scope = torch.NewDisposeScope();
            var (o, state) = chunk_retention(q, k, v, output_final_state: true);
            (o.sum() + state!.sum()).backward();
            foreach (var t in new[] { q, k, v })
            {
                t.grad!.Dispose();
                t.grad = null;
            }
        }
    }

    [Test]
    public void ATapeIsFreedWithItsBackwardPass()
    {
        var (q, k, v) = (Leaf(Shape), Leaf(Shape), Leaf(Shape));
        var before = Device.Memory.Allocations;
        var loss = chunk_retention(q, k, v).o.sum();
        Assert.That(Device.Memory.Allocations, Is.GreaterThan(before));
        loss.backward();
        Assert.That(Device.Memory.Allocations, Is.EqualTo(before));
    }

    /// <summary>What is written to the error stream meanwhile.</summary>
    private static string Said(Action action)
    {
        var errors = Console.Error;
        using var said = new StringWriter();
        Console.SetError(said);
        try
        {
            action();
        }
        finally
        {
            Console.SetError(errors);
        }
        return said.ToString();
    }
}
