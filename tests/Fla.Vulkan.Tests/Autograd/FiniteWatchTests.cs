using Fla.Testing;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.AutogradTests;

public sealed class FiniteWatchTests(TestDevice device) : DeviceTests(device)
{
    [Test]
    public void FirstResultThatIsNotFiniteIsNamed()
    {
        var w = Leaf(1, 200, 3);
        using var watch = new FiniteWatch([new("w", w)]);
        var y = Elementwise.Exp(Elementwise.Scale(w, 1));
        Assert.That(watch.First, Is.EqualTo("the output of exp after w, f32 [3]: Infinity at element 1, 1 of 3 not finite"));
        _ = Elementwise.Add(y, y);
        Assert.That(watch.First, Does.Contain("exp"), "the first stays the first");
    }

    [Test]
    public void FirstGradientThatIsNotFiniteIsNamed()
    {
        var w = Leaf(1, 1e-25f);
        using var watch = new FiniteWatch([new("w", w)]);
        var y = Reductions.Sum(Elementwise.Div(Make([1, 1], [2]), w));
        Assert.That(watch.First, Is.Null, "1e25 is finite");
        Autograd.Backward(y);
        Assert.That(watch.First, Does.StartWith("the gradient of w, f32 [2]").And.Contains("at element 1"), "its square is not");
    }

    [Test]
    public void RecomputedFunctionsAreLookedInto()
    {
        var w = Leaf(200);
        using (var watch = new FiniteWatch([new("w", w)]))
        {
            _ = Autograd.Checkpoint(x => [Elementwise.Scale(Elementwise.Exp(x[0]), 1)], Elementwise.Scale(w, 1));
            Assert.That(watch.First, Does.StartWith("the output of exp after w"));
        }
        _ = Elementwise.Exp(w);
    }

    [Test]
    public void FiniteNumbersAreNotNamed()
    {
        var w = Leaf(1, -2);
        using var watch = new FiniteWatch([new("w", w)]);
        Autograd.Backward(Reductions.Sum(Elementwise.Exp(w)));
        watch.Look("w", w);
        watch.Look("integers", Tensor.FromInt32(Device, [-1], 1));
        Assert.That(watch.First, Is.Null);
    }

    private Tensor Leaf(params float[] values)
    {
        var x = Make(values, [values.Length]);
        x.RequiresGrad = true;
        return x;
    }
}
