using Fla.Testing;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.AutogradTests;

public sealed class AutogradTests(TestDevice device) : DeviceTests(device)
{
    private Tensor Leaf(params float[] values)
    {
        var x = Make(values, [values.Length]);
        x.RequiresGrad = true;
        return x;
    }

    /// <summary>y = factor · x, with a saved tensor.</summary>
    private static Tensor Scale(Tensor x, float factor)
    {
        var y = Tensor.ZerosLike(x);
        y.Accumulate(x, factor);
        if (Autograd.IsRecording(x))
        {
            Autograd.Record("scale", [x], [y], [x], static (ctx, dy) =>
            {
                var dx = Tensor.ZerosLike(dy[0]!);
                dx.Accumulate(dy[0]!, ctx.State<float>());
                return [dx];
            }, factor);
        }
        return y;
    }

    [Test]
    public void GradientsOfSeveralUsesAddUp()
    {
        var x = Leaf(1, 2);
        var y = Scale(x, 2);
        using var seed = Make([1, 10], [2]);
        Autograd.Backward([Scale(y, 3), Scale(y, 4)], [seed, seed]);
        Assert.That(x.Grad!.ToSingle(), Is.EqualTo(new float[] { 14, 140 }));
        Autograd.Backward(Scale(x, 1), seed);
        Assert.That(x.Grad!.ToSingle(), Is.EqualTo(new float[] { 15, 150 }));
    }

    [Test]
    public void GradientsCanBeAskedForWithoutTouchingTheLeaves()
    {
        var (x, other) = (Leaf(1, 2), Leaf(1, 2));
        using var seed = Make([1, 10], [2]);
        var inner = Autograd.Checkpoint(inputs => [Scale(Scale(inputs[0], 2), 3)], x)[0];
        var gradients = Autograd.Grad([inner, Scale(x, 1)], [seed, seed], [x, other]);
        Assert.That(gradients[0]!.ToSingle(), Is.EqualTo(new float[] { 7, 70 }));
        Assert.That(gradients[1], Is.Null);
        Assert.That(x.Grad, Is.Null);
        Assert.That(() => Autograd.Grad([Scale(x, 1)], [seed], [seed]), Throws.TypeOf<AutogradException>());
    }

    [Test]
    public void ViewsRowsAndCastsAreRecorded()
    {
        var x = Leaf(1, 2, 3, 4);
        var y = Scale(x, 2).View(2, 2).Narrow(1, 1).To(DType.Float16);
        using var seed = Make([1, 2], [1, 2], DType.Float16);
        Autograd.Backward(y, seed);
        Assert.That(x.Grad!.ToSingle(), Is.EqualTo(new float[] { 0, 0, 2, 4 }));
    }

    [Test]
    public void NothingIsRecordedWithoutGrad()
    {
        var x = Leaf(1);
        using (Autograd.NoGrad()) Assert.That(Scale(x, 2).RequiresGrad, Is.False);
        Assert.That(Scale(x, 2).RequiresGrad);
    }

    [Test]
    public void CheckpointsGiveTheSameGradients()
    {
        var x = Leaf(1, 2);
        var w = Leaf(5);
        var y = Autograd.Checkpoint(i => [Scale(Scale(i[0], 2), 3)], x);
        var z = Autograd.Checkpoint(_ => [Scale(w, 2)], x);
        using var seed = Make([1, 10], [2]);
        Autograd.Backward([y[0], z[0]], [seed, null]);
        Assert.That(x.Grad!.ToSingle(), Is.EqualTo(new float[] { 6, 60 }));
        Assert.That(w.Grad!.ToSingle(), Is.EqualTo(new float[] { 2 }));
    }

    [Test]
    public void IntermediatesAreFreedAsBackwardGoes()
    {
        var x = Leaf(1);
        var before = Device.Memory.Allocations;
        Tensor loss;
        using (var scope = Device.Scope())
        {
            var y = x;
            for (var i = 0; i < 5; i++) y = Scale(y, 2);
            loss = scope.Keep(y);
        }
        Assert.That(Device.Memory.Allocations, Is.EqualTo(before + 5));
        loss.Backward();
        loss.Dispose();
        Assert.That(Device.Memory.Allocations, Is.EqualTo(before + 1));
        Assert.That(x.Grad!.Item(), Is.EqualTo(32));
    }

    [Test]
    public void AnAbandonedHistoryIsFreed()
    {
        var x = Leaf(1);
        var before = Device.Memory.Allocations;
        using (Device.Scope())
        {
            var y = x;
            for (var i = 0; i < 2000; i++) y = Scale(y, 1);
        }
        Assert.That(Device.Memory.Allocations, Is.EqualTo(before));
    }

    [Test]
    public void MisuseIsATypedError()
    {
        var x = Leaf(1, 2);
        var y = Scale(x, 2);
        Assert.That(() => y.Backward(), Throws.TypeOf<AutogradException>());
        using var seed = Make([1, 1], [2]);
        Autograd.Backward(y, seed);
        Assert.That(() => Autograd.Backward(y, seed), Throws.TypeOf<AutogradException>().With.Message.Contains("scale"));
        Assert.That(() => Autograd.Backward(Make([1], [1])), Throws.TypeOf<AutogradException>());
        var z = Scale(x, 2);
        x.Fill(3);
        Assert.That(() => Autograd.Backward(z, seed), Throws.TypeOf<AutogradException>().With.Message.Contains("overwritten"));
        Assert.That(() => z.RequiresGrad = true, Throws.TypeOf<AutogradException>());
    }
}
