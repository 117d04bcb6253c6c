using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

/// <summary>Every choice meets every other, two at a time: each combination is pipelines of its own, which take most of the time.</summary>
public sealed class NormsTests(TestDevice device) : NnTests(device)
{
    [Test, Pairwise]
    public void RmsAndLayerNorm([Values] bool isRms, [ValueSource(nameof(FloatTypes))] DType type, [Values(8, 37, 64, 1000)] int width, [Values] bool hasAffine)
    {
        RefTensor x = Normal(1, type, 3, 5, width), dy = Normal(2, type, 3, 5, width);
        var w = hasAffine ? Normal(3, type, width) : null;
        var b = hasAffine ? Normal(4, type, width) : null;
        var leaf = Leaf(x, type);
        Tensor? weight = OptionalLeaf(w, type), bias = OptionalLeaf(b, type);
        var o = isRms ? Norms.RmsNorm(leaf, weight, bias, eps: 1e-6f) : Norms.LayerNorm(leaf, weight, bias, eps: 1e-6f);
        var expected = isRms ? Reference.RmsNorm(x, w, b, eps: 1e-6, doutput: dy) : Reference.LayerNorm(x, w, b, eps: 1e-6, doutput: dy);
        Check(expected, type, o, dy, ("x", leaf), ("weight", weight), ("bias", bias));
    }

    [Test, Pairwise]
    public void PrenormWithResiduals([Values] bool isRms, [ValueSource(nameof(FloatTypes))] DType type, [ValueSource(nameof(FloatTypes))] DType residualType)
    {
        RefTensor x = Normal(5, type, 9, 24), r = Normal(6, residualType, 9, 24), w = Normal(7, DType.Float32, 24), dy = Normal(8, type, 9, 24), ds = Normal(9, residualType, 9, 24);
        Tensor leaf = Leaf(x, type), residual = Leaf(r, residualType), weight = Leaf(w, DType.Float32);
        var (o, sum) = isRms ? Norms.RmsNormPrenorm(leaf, weight, null, residual) : Norms.LayerNormPrenorm(leaf, weight, null, residual);
        Assert.That(sum.DType, Is.EqualTo(residualType));
        var coarse = Tolerance(type) > Tolerance(residualType) ? type : residualType;
        var expected = isRms ? Reference.RmsNorm(x, w, null, r, doutput: dy, dresidual: ds) : Reference.LayerNorm(x, w, null, r, doutput: dy, dresidual: ds);
        Check(expected, coarse, [("o", o, dy), ("residual", sum, ds)], ("x", leaf), ("weight", weight), ("residual", residual));
    }

    [Test]
    public void PrenormWithoutResidualReturnsTheInput([Values] bool inFp32)
    {
        RefTensor x = Normal(10, DType.BFloat16, 4, 16), ds = Normal(11, DType.BFloat16, 4, 16), dy = Normal(12, DType.BFloat16, 4, 16);
        var leaf = Leaf(x, DType.BFloat16);
        var (o, sum) = Norms.RmsNormPrenorm(leaf, residualInFp32: inFp32);
        Assert.That(sum.DType, Is.EqualTo(inFp32 ? DType.Float32 : DType.BFloat16));
        Assert.That(sum.ToSingle(), Is.EqualTo(x.ToFloats()));
        Check(Reference.RmsNorm(x, doutput: dy, dresidual: ds), DType.BFloat16, [("o", o, dy), ("residual", sum, ds)], ("x", leaf));
    }

    [Test]
    public void OnlyTheSumHasAGradient()
    {
        RefTensor x = Inputs.Normal(13, 4, 16), r = Inputs.Normal(14, 4, 16), ds = Inputs.Normal(15, 4, 16);
        Tensor leaf = Leaf(x, DType.Float32), residual = Leaf(r, DType.Float32);
        var (_, sum) = Norms.RmsNormPrenorm(leaf, residual: residual);
        Autograd.Backward(sum, Constant(ds, DType.Float32));
        Assert.That(leaf.Grad!.ToSingle(), Is.EqualTo(ds.ToFloats()));
        Assert.That(residual.Grad!.ToSingle(), Is.EqualTo(ds.ToFloats()));
    }

    [Test]
    public void ResidualWithoutPrenorm([ValueSource(nameof(FloatTypes))] DType type)
    {
        RefTensor x = Normal(16, type, 4, 20), r = Normal(17, type, 4, 20), dy = Normal(18, type, 4, 20);
        Tensor leaf = Leaf(x, type), residual = Leaf(r, type);
        Check(Reference.LayerNorm(x, residual: r, doutput: dy), type, Norms.LayerNorm(leaf, residual: residual), dy, ("x", leaf), ("residual", residual));
    }

    [Test]
    public void GroupNormOfBothKinds([Values] bool isRms, [Values(2, 3)] int groups, [ValueSource(nameof(FloatTypes))] DType type)
    {
        RefTensor x = Normal(19, type, 11, 30), w = Normal(20, type, 30), b = Normal(21, type, 30), r = Normal(22, type, 11, 30), dy = Normal(23, type, 11, 30), ds = Normal(24, type, 11, 30);
        Tensor leaf = Leaf(x, type), weight = Leaf(w, type), bias = Leaf(b, type), residual = Leaf(r, type);
        var (o, sum) = Norms.GroupNormPrenorm(leaf, groups, weight, bias, residual, isRmsNorm: isRms);
        Check(Reference.GroupNorm(x, groups, w, b, r, 1e-5, isRms, dy, ds), type, [("o", o, dy), ("residual", sum, ds)], ("x", leaf), ("weight", weight), ("bias", bias), ("residual", residual));
    }

    [Test, Pairwise]
    public void FusedGatedNorms([Values] bool isRms, [Values] NormGate gate, [ValueSource(nameof(FloatTypes))] DType type, [Values(16, 35, 256)] int width)
    {
        RefTensor x = Normal(25, type, 6, width), g = Normal(26, type, 6, width), w = Normal(27, DType.Float32, width), b = Normal(28, DType.Float32, width), dy = Normal(29, type, 6, width);
        Tensor leaf = Leaf(x, type), gateLeaf = Leaf(g, type), weight = Leaf(w, DType.Float32), bias = Leaf(b, DType.Float32);
        var name = gate == NormGate.Swish ? "swish" : "sigmoid";
        if (isRms)
        {
            Check(Reference.FusedRmsNormGated(x, g, w, activation: name, doutput: dy), type, Norms.FusedRmsNormGated(leaf, gateLeaf, weight, activation: gate), dy,
                ("x", leaf), ("g", gateLeaf), ("weight", weight));
        }
        else
        {
            Check(Reference.FusedLayerNormGated(x, g, w, b, activation: name, doutput: dy), type, Norms.FusedLayerNormGated(leaf, gateLeaf, weight, bias, activation: gate), dy,
                ("x", leaf), ("g", gateLeaf), ("weight", weight), ("bias", bias));
        }
    }

    [Test]
    public void FusedGatedPrenorm([Values] bool isRms)
    {
        RefTensor x = Inputs.Normal(30, 6, 12), g = Inputs.Normal(31, 6, 12), r = Inputs.Normal(32, 6, 12), w = Inputs.Normal(33, 12), dy = Inputs.Normal(34, 6, 12), ds = Inputs.Normal(35, 6, 12);
        Tensor leaf = Leaf(x, DType.Float32), gate = Leaf(g, DType.Float32), residual = Leaf(r, DType.Float32), weight = Leaf(w, DType.Float32);
        var (o, sum) = isRms ? Norms.FusedRmsNormGatedPrenorm(leaf, gate, weight, residual) : Norms.FusedLayerNormGatedPrenorm(leaf, gate, weight, null, residual);
        var expected = isRms ? Reference.FusedRmsNormGated(x, g, w, r, doutput: dy, dresidual: ds) : Reference.FusedLayerNormGated(x, g, w, null, r, doutput: dy, dresidual: ds);
        Check(expected, DType.Float32, [("o", o, dy), ("residual", sum, ds)], ("x", leaf), ("g", gate), ("weight", weight), ("residual", residual));
    }

    [Test, Pairwise]
    public void MambaGatedNorms([Values] bool isRms, [Values] bool normBeforeGate, [Values(null, 12)] int? groupSize, [ValueSource(nameof(FloatTypes))] DType type)
    {
        RefTensor x = Normal(36, type, 7, 24), z = Normal(37, type, 7, 24), w = Normal(38, type, 24), b = Normal(39, type, 24), dy = Normal(40, type, 7, 24);
        Tensor leaf = Leaf(x, type), gate = Leaf(z, type), weight = Leaf(w, type), bias = Leaf(b, type);
        Check(Reference.NormGated(x, z, w, b, 1e-5, groupSize, normBeforeGate, isRms, dy), type,
            Norms.NormGated(leaf, gate, weight, bias, 1e-5f, groupSize, normBeforeGate, isRms), dy, ("x", leaf), ("g", gate), ("weight", weight), ("bias", bias));
        Check(Reference.NormGated(x, null, w, null, 1e-5, groupSize, normBeforeGate, isRms), type,
            Norms.NormGated(leaf, null, weight, null, 1e-5f, groupSize, normBeforeGate, isRms), null);
    }

    [Test]
    public void L2NormOfEveryType([ValueSource(nameof(FloatTypes))] DType type, [Values(8, 33, 128)] int width)
    {
        RefTensor x = Normal(41, type, 10, width), dy = Normal(42, type, 10, width);
        var leaf = Leaf(x, type);
        Check(Reference.L2Norm(x, doutput: dy), type, Norms.L2Norm(leaf), dy, ("x", leaf));
        var wide = Norms.L2Norm(leaf, outputType: DType.Float32);
        ErrorRatio.AssertClose(wide.ToSingle(), Reference.L2Norm(x).O.ToFloats(), 1e-5, "in f32");
        leaf.Grad = null;
        Autograd.Backward(wide, Constant(dy, DType.Float32));
        ErrorRatio.AssertClose(leaf.Grad!.ToSingle(), Reference.L2Norm(x, doutput: dy).Grad("x").ToFloats(), GradientTolerance(type), "gradient");
    }

    [TestCase(4096)]
    [TestCase(7000)]
    [TestCase(16384)]
    public void WideRowsWithBothParameterGradients(int width)
    {
        RefTensor x = Inputs.Normal(43, 20, width), w = Inputs.Normal(44, width), b = Inputs.Normal(45, width), dy = Inputs.Normal(46, 20, width);
        Tensor leaf = Leaf(x, DType.Float32), weight = Leaf(w, DType.Float32), bias = Leaf(b, DType.Float32);
        Check(Reference.LayerNorm(x, w, b, doutput: dy), DType.Float32, Norms.LayerNorm(leaf, weight, bias), dy, ("x", leaf), ("weight", weight), ("bias", bias));
    }

    [Test]
    public void ManyShortRowsRepeatBitByBit([Values(32, 64, 256)] int width)
    {
        const int rows = 3001;
        RefTensor x = Normal(47, DType.BFloat16, rows, width), w = Inputs.Normal(48, width), dy = Normal(49, DType.BFloat16, rows, width);
        Tensor leaf = Leaf(x, DType.BFloat16), weight = Leaf(w, DType.Float32);
        var o = Norms.RmsNorm(leaf, weight);
        Check(Reference.RmsNorm(x, w, doutput: dy), DType.BFloat16, o, dy, ("x", leaf), ("weight", weight));
        var first = weight.Grad!.ToSingle();
        weight.Grad = null;
        Autograd.Backward(Norms.RmsNorm(leaf, weight), Constant(dy, DType.BFloat16));
        Assert.That(weight.Grad!.ToSingle(), Is.EqualTo(first));
    }

    [Test]
    public void WrongUseIsATypedError()
    {
        var x = Make(new float[24], [3, 8]);
        Assert.Multiple(() =>
        {
            Assert.That(() => Norms.RmsNorm(x, Make(new float[7], [7])), Throws.TypeOf<ShapeException>());
            Assert.That(() => Norms.RmsNorm(x, residual: Make(new float[8], [8])), Throws.TypeOf<ShapeException>());
            Assert.That(() => Norms.RmsNorm(x, eps: float.NaN), Throws.TypeOf<ShapeException>());
            Assert.That(() => Norms.GroupNorm(x, 3), Throws.TypeOf<ShapeException>());
            Assert.That(() => Norms.NormGated(x, null, groupSize: 3), Throws.TypeOf<ShapeException>());
            Assert.That(() => Norms.FusedRmsNormGated(x, Make(new float[24], [3, 8], DType.Float16)), Throws.TypeOf<DTypeException>());
            Assert.That(() => Norms.LayerNorm(Tensor.FromInt32(Device, [1, 2], 1, 2)), Throws.TypeOf<DTypeException>());
            Assert.That(() => Norms.L2Norm(Tensor.Empty(Device, DType.Float32, 2, 0)), Throws.TypeOf<ShapeException>());
            Assert.That(() => Norms.L2Norm(x, outputType: DType.Int32), Throws.TypeOf<ShapeException>());
        });
        Assert.That(Norms.RmsNorm(Tensor.Empty(Device, DType.Float32, 0, 8)).Count, Is.Zero);
    }
}
