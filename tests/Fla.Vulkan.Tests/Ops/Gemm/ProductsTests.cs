using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Gemm;

internal sealed class ProductsTests(TestDevice device) : DeviceTests(device)
{
    private static readonly DType[] Types = [DType.Float32, DType.Float16, DType.BFloat16];

    [Test]
    public void Linear([ValueSource(nameof(Types))] DType type, [Values] bool hasBias, [Values(1, 70)] int tokens, [Values(36, 37)] int outputs)
    {
        var x = Round(Inputs.Normal(1, 2, tokens, 45), type);
        var weight = Round(Inputs.Normal(2, outputs, 45), type);
        var bias = hasBias ? Round(Inputs.Normal(3, outputs), type) : null;
        var dy = Round(Inputs.Normal(4, 2, tokens, outputs), type);
        using var xt = Leaf(x, type);
        using var wt = Leaf(weight, type);
        using var bt = bias is null ? null : Leaf(bias, type);
        using var y = Products.Linear(xt, wt, bt);
        Assert.That(y.Shape.ToArray(), Is.EqualTo(new[] { 2, tokens, outputs }));
        Backward(y, dy, type);

        var expected = Reference.Linear(x, weight, bias, dy);
        var actual = new Dictionary<string, float[]> { ["o"] = y.ToSingle(), ["grad.x"] = xt.Grad!.ToSingle(), ["grad.weight"] = wt.Grad!.ToSingle() };
        if (bt is not null) actual["grad.bias"] = bt.Grad!.ToSingle();
        expected.AssertClose(actual, Tolerance(type), GradientTolerance(type));
    }

    [Test]
    public void MatMul([ValueSource(nameof(Types))] DType type, [Values] bool transA, [Values] bool transB, [Values] bool sharedB)
    {
        int[] leading = [2, 3];
        var a = Round(Inputs.Normal(1, [.. leading, .. transA ? new[] { 17, 34 } : [34, 17]]), type);
        var b = Round(Inputs.Normal(2, [.. sharedB ? [] : leading, .. transB ? new[] { 21, 17 } : [17, 21]]), type);
        var dc = Round(Inputs.Normal(3, [.. leading, 34, 21]), type);
        using var at = Leaf(a, type);
        using var bt = Leaf(b, type);
        using var c = Products.MatMul(at, bt, transA, transB);
        Assert.That(c.Shape.ToArray(), Is.EqualTo(dc.Shape));
        Backward(c, dc, type);

        Reference.Matmul(a, b, transA, transB, doutput: dc).AssertClose(
            new Dictionary<string, float[]> { ["o"] = c.ToSingle(), ["grad.a"] = at.Grad!.ToSingle(), ["grad.b"] = bt.Grad!.ToSingle() },
            Tolerance(type), GradientTolerance(type));
    }

    [Test]
    public void NothingIsRecordedWithoutNeed()
    {
        using var x = Make(new float[12], [3, 4]);
        using var weight = Make(new float[8], [2, 4]);
        using var y = Products.Linear(x, weight);
        Assert.That(y.RequiresGrad, Is.False);
        weight.RequiresGrad = true;
        using (Autograd.NoGrad())
        {
            using var silent = Products.Linear(x, weight);
            Assert.That(silent.RequiresGrad, Is.False);
        }
        using var recorded = Products.Linear(x, weight);
        Assert.That(recorded.RequiresGrad, Is.True);
    }

    [Test]
    public void OnlyWantedGradientsAreMade()
    {
        using var x = Make([1, 2, 3, 4], [2, 2]);
        using var weight = Leaf(new([1.0, 0, 0, 1], 2, 2), DType.Float32);
        using var y = Products.Linear(x, weight);
        using var dy = Make([1, 1, 1, 1], [2, 2]);
        Autograd.Backward(y, dy);
        Assert.That(weight.Grad!.ToSingle(), Is.EqualTo(new float[] { 4, 6, 4, 6 }));
    }

    [Test]
    public void BadArgumentsAreNamed()
    {
        using var x = Make(new float[12], [3, 4]);
        using var weight = Make(new float[10], [2, 5]);
        using var half = Make(new float[8], [2, 4], DType.Float16);
        using var bias = Make(new float[3], [3]);
        using var ids = Tensor.FromInt32(Device, new int[8], [2, 4]);
        Assert.That(() => Products.Linear(x, weight), Throws.TypeOf<ShapeException>().With.Message.Contains("5 features"));
        Assert.Throws<DTypeException>(() => Products.Linear(x, half));
        Assert.Throws<DTypeException>(() => Products.Linear(ids, ids));
        using var fits = Make(new float[8], [2, 4]);
        Assert.Throws<ShapeException>(() => Products.Linear(x, fits, bias));
        Assert.Throws<ShapeException>(() => Products.MatMul(x, bias));
        Assert.Throws<ShapeException>(() => Products.MatMul(x, weight));
    }

    private static RefTensor Round(RefTensor x, DType type) => type switch
    {
        DType.Float16 => x.RoundToHalf(),
        DType.BFloat16 => x.RoundToBFloat16(),
        _ => x.Map(v => (float)v),
    };

    private static double Tolerance(DType type) => type switch { DType.Float16 => 5e-3, DType.BFloat16 => 2e-2, _ => 1e-5 };

    private static double GradientTolerance(DType type) => type switch { DType.Float16 => 1e-2, DType.BFloat16 => 3e-2, _ => 1e-4 };

    private Tensor Leaf(RefTensor x, DType type)
    {
        var tensor = Make(x.ToFloats(), x.Shape, type);
        tensor.RequiresGrad = true;
        return tensor;
    }

    private void Backward(Tensor y, RefTensor dy, DType type)
    {
        using var gradient = Make(dy.ToFloats(), dy.Shape, type);
        Autograd.Backward(y, gradient);
    }
}
