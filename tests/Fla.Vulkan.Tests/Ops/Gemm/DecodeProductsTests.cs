using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using Fla.Vulkan.Tests.Ops.Nn;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Gemm;

internal sealed class DecodeProductsTests(TestDevice device) : NnTests(device)
{
    /// <summary>What the norm leaves is rounded before it is multiplied, as by the norm's own kernel.</summary>
    [Test]
    public void ANormGoesBefore([ValueSource(nameof(FloatTypes))] DType type, [Values(1, 3, 8)] int rows, [Values] bool hasWeight)
    {
        const int k = 256, n = 21;
        RefTensor x = Normal(1, type, rows, k), w = Normal(2, type, n, k), scale = Normal(3, type, k), bias = Normal(4, type, n), other = Normal(5, type, rows, n);
        using var off = Autograd.NoGrad();
        Tensor xt = Constant(x, type), scaleT = Constant(scale, type);
        var norm = new RowNorm(k, 1e-5f, hasWeight ? scaleT : null);
        Assert.That(DecodeProducts.Takes(xt, norm));
        var y = DecodeProducts.Linear(xt, Constant(w, type), Constant(bias, type), norm, Constant(other, type));
        var product = Reference.Linear(Round(Reference.RmsNorm(x, hasWeight ? scale : null, eps: 1e-5).O, type), w, bias).O;
        AssertClose(y, Add(product, other), type);
    }

    [Test]
    public void AGatedNormOfHeadsGoesBefore([ValueSource(nameof(FloatTypes))] DType type, [Values] NormGate activation, [Values(1, 2)] int rows)
    {
        // A norm over runs that its lanes fill with 16 bytes each.
        const int heads = 3, n = 10;
        int width = 16 / type.Size() * Device.SubgroupSize, k = heads * width;
        RefTensor x = Normal(1, type, rows, heads, width), g = Normal(2, type, rows, heads, width), w = Normal(3, type, n, k), scale = Normal(4, type, width);
        using var off = Autograd.NoGrad();
        Tensor xt = Constant(x, type).View(rows, k);
        var norm = new RowNorm(width, 1e-5f, Constant(scale, type), Constant(g, type), activation);
        Assert.That(DecodeProducts.Takes(xt, norm));
        var y = DecodeProducts.Linear(xt, Constant(w, type), norm: norm);
        var normed = Round(Reference.FusedRmsNormGated(x, g, scale, activation: activation == NormGate.Swish ? "swish" : "sigmoid").O, type);
        AssertClose(y, Reference.Linear(new RefTensor(normed.Data, rows, k), w).O, type);
    }

    [Test]
    public void GatedUnits([ValueSource(nameof(FloatTypes))] DType type, [Values(1, 5)] int rows, [Values] bool isPowlu, [Values(64, 45)] int k)
    {
        const int n = 19;
        RefTensor x = Normal(1, type, rows, k), gate = Normal(2, type, n, k), up = Normal(3, type, n, k);
        using var off = Autograd.NoGrad();
        var y = DecodeProducts.Glu(Constant(x, type), Constant(gate, type), Constant(up, type), null, isPowlu ? 3 : null);
        RefTensor a = Reference.Linear(x, gate).O, b = Reference.Linear(x, up).O;
        AssertClose(y, Reference.GatedActivation(isPowlu ? "powglu" : "swiglu", a, b).O, type);
    }

    /// <summary>More of a row than is staged at once.</summary>
    [Test]
    public void LongRows([ValueSource(nameof(FloatTypes))] DType type, [Values(1, 7)] int rows)
    {
        const int k = 9000, n = 6;
        RefTensor x = Normal(1, type, rows, k), w = Normal(2, type, n, k);
        using var off = Autograd.NoGrad();
        Tensor xt = Constant(x, type);
        Assert.That(DecodeProducts.Takes(xt, new RowNorm(k, 1e-5f)), Is.False, "a norm needs whole rows");
        AssertClose(DecodeProducts.Linear(xt, Constant(w, type)), Reference.Linear(x, w).O, type);
    }

    [Test]
    public void BadArgumentsAreNamed()
    {
        Tensor x = Tensor.Zeros(Device, DType.Float32, 2, 64), w = Tensor.Zeros(Device, DType.Float32, 3, 64), many = Tensor.Zeros(Device, DType.Float32, 9, 64);
        Assert.Throws<AutogradException>(() => DecodeProducts.Linear(x, w));
        using var off = Autograd.NoGrad();
        Assert.Throws<AutogradException>(() => DecodeProducts.Linear(many, w));
        Assert.Throws<ShapeException>(() => DecodeProducts.Linear(x, Tensor.Zeros(Device, DType.Float32, 3, 60)));
        Assert.Throws<ShapeException>(() => DecodeProducts.Linear(x, w, other: Tensor.Zeros(Device, DType.Float32, 2, 4)));
        Assert.Throws<ShapeException>(() => DecodeProducts.Linear(x, w, norm: new RowNorm(24, 0)));
        Assert.Throws<ShapeException>(() => DecodeProducts.Glu(x, w, Tensor.Zeros(Device, DType.Float32, 4, 64)));
        Assert.Throws<DTypeException>(() => DecodeProducts.Linear(x, Tensor.Zeros(Device, DType.Float16, 3, 64)));
    }

    private static RefTensor Add(RefTensor a, RefTensor b) => new(a.Data.Zip(b.Data, (p, q) => p + q).ToArray(), a.Shape);

    private static void AssertClose(Tensor actual, RefTensor expected, DType type) => ErrorRatio.AssertClose(actual.ToSingle(), expected.ToFloats(), Tolerance(type), "y");
}
