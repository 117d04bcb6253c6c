using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;
using CrossEntropyOptions = Fla.Vulkan.Ops.CrossEntropyOptions;
using ReferenceOptions = Fla.Testing.References.CrossEntropyOptions;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class FusedLinearLossesTests(TestDevice device) : NnTests(device)
{
    private const int Rows = 21;
    private const int Width = 24;

    private static readonly CrossEntropyOptions[] Options =
    [
        new(),
        new() { Reduction = LossReduction.Sum, LabelSmoothing = 0.1f },
        new() { LseSquareScale = 1e-2f, LogitScale = 0.8f },
        new() { LogitSoftcapping = 3, IgnoreIndex = 5 },
        new() { L2WarpFactor = 0.2f },
    ];

    [Test]
    public void CrossEntropyOfEveryOption([ValueSource(nameof(Options))] CrossEntropyOptions options, [ValueSource(nameof(FloatTypes))] DType type,
        [Values(false, true)] bool hasBias)
    {
        const int classes = 100;
        RefTensor x = Normal(1, type, Rows, Width), weight = Round(Inputs.Normal(2, classes, Width).Map(v => 0.5 * v), type);
        var bias = hasBias ? Normal(3, type, classes) : null;
        var labels = Inputs.Ids(4, classes, Rows);
        (labels[0], labels[13]) = (options.IgnoreIndex, options.IgnoreIndex);
        var dloss = new RefTensor([1.5f], 1);
        var expected = Reference.FusedLinearCrossEntropy(x, labels, weight, bias, new ReferenceOptions
        {
            IgnoreIndex = options.IgnoreIndex, Reduction = options.Reduction == LossReduction.Sum ? "sum" : "mean", LabelSmoothing = options.LabelSmoothing,
            LogitScale = options.LogitScale, LseSquareScale = options.LseSquareScale, LogitSoftcapping = options.LogitSoftcapping,
            L2WarpFactor = options.L2WarpFactor,
        }, dloss);
        Tensor leafX = Leaf(x, type), leafW = Leaf(weight, type);
        var leafB = OptionalLeaf(bias, type);
        var loss = FusedLinearLosses.CrossEntropy(leafX.View(3, 7, Width), Tensor.FromInt32(Device, labels, 3, 7), leafW, leafB, options, numChunks: 4);
        ErrorRatio.AssertClose(loss.ToSingle(), expected.Output("loss").ToFloats(), Tolerance(type), "loss");
        Autograd.Backward(loss, Make([1.5f], []));
        ErrorRatio.AssertClose(leafX.Grad!.ToSingle(), expected.Grad("x").ToFloats(), GradientTolerance(type), "gradient of x");
        ErrorRatio.AssertClose(leafW.Grad!.ToSingle(), expected.Grad("weight").ToFloats(), GradientTolerance(type), "gradient of the weight");
        if (leafB != null) ErrorRatio.AssertClose(leafB.Grad!.ToSingle(), expected.Grad("bias").ToFloats(), GradientTolerance(type), "gradient of the bias");
    }

    // Rows, classes and widths: ragged blocks, reductions to be filled up, and whole ones of several chunks, tiles and pieces of columns.
    [TestCase(21, 100, 24, 2, LossReduction.Sum)]
    [TestCase(200, 150, 70, 2, LossReduction.Mean)]
    [TestCase(128, 1088, 64, 4, LossReduction.Mean)]
    public void LogitsThatStayFragmentsGiveTheSame(int rows, int classes, int width, int chunks, LossReduction reduction)
    {
        if (!PackedProduct.CanChain(Device, DType.Float16)) Assert.Ignore("accumulators of this device do not lie like operands");
        var options = new CrossEntropyOptions { Reduction = reduction, IgnoreIndex = 5 };
        RefTensor x = Normal(1, DType.Float16, rows, width), weight = Round(Inputs.Normal(2, classes, width).Map(v => 0.5 * v), DType.Float16);
        var labels = Inputs.Ids(3, classes, rows);
        (labels[0], labels[17], labels[20]) = (5, classes - 1, classes);
        (float[] Loss, float[] Dx, float[] Dw) Once(bool isPacked)
        {
            Tensor leafX = Leaf(x, DType.Float16), leafW = Leaf(weight, DType.Float16);
            var loss = FusedLinearLosses.CrossEntropy(leafX, Tensor.FromInt32(Device, labels, rows), leafW, null, options, chunks, isPacked);
            Autograd.Backward(loss, Make([1.5f], []));
            return (loss.ToSingle(), leafX.Grad!.ToSingle(), leafW.Grad!.ToSingle());
        }
        var (fragments, others) = (Once(true), Once(false));
        ErrorRatio.AssertClose(fragments.Loss, others.Loss, 1e-4, "loss");
        ErrorRatio.AssertClose(fragments.Dx, others.Dx, 2e-3, "gradient of x");
        ErrorRatio.AssertClose(fragments.Dw, others.Dw, 2e-3, "gradient of the weight");
        Assert.That(others.Dw, Has.Some.Not.Zero);
    }

    [Test]
    public void FragmentsServeEitherGradientAlone()
    {
        const int rows = 70, classes = 100;
        if (!PackedProduct.CanChain(Device, DType.Float16)) Assert.Ignore("accumulators of this device do not lie like operands");
        RefTensor x = Normal(1, DType.Float16, rows, Width), weight = Normal(2, DType.Float16, classes, Width);
        var labels = Tensor.FromInt64(Device, [.. Inputs.Ids(3, classes, rows).Select(label => (long)label)], rows);
        (Tensor? Dx, Tensor? Dw) Once(bool wantsX, bool wantsWeight)
        {
            Tensor leafX = Leaf(x, DType.Float16), leafW = Leaf(weight, DType.Float16);
            (leafX.RequiresGrad, leafW.RequiresGrad) = (wantsX, wantsWeight);
            Autograd.Backward(FusedLinearLosses.CrossEntropy(leafX, labels, leafW, null, null, numChunks: 2, isPacked: true));
            return (leafX.Grad, leafW.Grad);
        }
        var (dx, dw) = Once(true, true);
        Assert.That(Once(true, false).Dx!.ToSingle(), Is.EqualTo(dx!.ToSingle()).And.Some.Not.Zero);
        Assert.That(Once(false, true).Dw!.ToSingle(), Is.EqualTo(dw!.ToSingle()).And.Some.Not.Zero);
    }

    [Test]
    public void TemperatureDividesTheLogitsOfBoth()
    {
        const int classes = 40;
        const float temperature = 2.5f;
        RefTensor x = Normal(1, DType.Float32, Rows, Width), weight = Normal(2, DType.Float32, classes, Width);
        RefTensor target = Normal(3, DType.Float32, Rows, Width), targetWeight = Normal(4, DType.Float32, classes, Width);
        var expected = Reference.FusedKlDiv(x, target, weight.Map(v => v / temperature), targetWeight.Map(v => v / temperature), new RefTensor([1f], 1));
        Tensor leafX = Leaf(x, DType.Float32), leafW = Leaf(weight, DType.Float32);
        var loss = FusedLinearLosses.KlDivergence(leafX, Constant(target, DType.Float32), leafW, Constant(targetWeight, DType.Float32), temperature: temperature);
        Autograd.Backward(loss);
        ErrorRatio.AssertClose(loss.ToSingle(), expected.Output("loss").ToFloats(), Tolerance(DType.Float32), "loss");
        ErrorRatio.AssertClose(leafX.Grad!.ToSingle(), expected.Grad("x").ToFloats(), GradientTolerance(DType.Float32), "gradient of x");
        ErrorRatio.AssertClose(leafW.Grad!.ToSingle(), expected.Grad("weight").Map(v => v / temperature).ToFloats(), GradientTolerance(DType.Float32), "gradient of the weight");
        Assert.That(() => FusedLinearLosses.KlDivergence(leafX, leafX.Detach(), leafW, leafW.Detach(), temperature: 0), Throws.TypeOf<ShapeException>());
    }

    [Test]
    public void KlDivergenceIsTheReference([ValueSource(nameof(FloatTypes))] DType type)
    {
        const int classes = 90, teacherWidth = 16;
        RefTensor x = Normal(1, type, Rows, Width), weight = Round(Inputs.Normal(2, classes, Width).Map(v => 0.4 * v), type);
        RefTensor target = Normal(3, type, Rows, teacherWidth), targetWeight = Round(Inputs.Normal(4, classes, teacherWidth).Map(v => 0.4 * v), type);
        var expected = Reference.FusedKlDiv(x, target, weight, targetWeight, new RefTensor([2f], 1));
        Tensor leafX = Leaf(x, type), leafW = Leaf(weight, type);
        var loss = FusedLinearLosses.KlDivergence(leafX, Constant(target, type), leafW, Constant(targetWeight, type), numChunks: 3);
        ErrorRatio.AssertClose(loss.ToSingle(), expected.Output("loss").ToFloats(), Tolerance(type), "loss");
        Autograd.Backward(loss, Make([2f], []));
        ErrorRatio.AssertClose(leafX.Grad!.ToSingle(), expected.Grad("x").ToFloats(), GradientTolerance(type), "gradient of x");
        ErrorRatio.AssertClose(leafW.Grad!.ToSingle(), expected.Grad("weight").ToFloats(), GradientTolerance(type), "gradient of the weight");
    }

    [Test]
    public void SmallGradientsOfManyRowsSurviveHalfPrecision()
    {
        const int rows = 4096, classes = 512;
        var x = Leaf(Normal(1, DType.Float16, rows, 8), DType.Float16);
        var weight = Leaf(Normal(2, DType.Float16, classes, 8), DType.Float16);
        Autograd.Backward(FusedLinearLosses.CrossEntropy(x, Tensor.FromInt32(Device, Inputs.Ids(3, classes, rows), rows), weight), Make([4096f], []));
        Tensor wideX = Leaf(Normal(1, DType.Float16, rows, 8), DType.Float32), wideW = Leaf(Normal(2, DType.Float16, classes, 8), DType.Float32);
        Autograd.Backward(FusedLinearLosses.CrossEntropy(wideX, Tensor.FromInt32(Device, Inputs.Ids(3, classes, rows), rows), wideW), Make([4096f], []));
        ErrorRatio.AssertClose(weight.Grad!.ToSingle(), wideW.Grad!.ToSingle(), GradientTolerance(DType.Float16), "gradient of the weight");
        ErrorRatio.AssertClose(x.Grad!.ToSingle(), wideX.Grad!.ToSingle(), GradientTolerance(DType.Float16), "gradient of x");
    }

    [Test]
    public void NoRowThatCountsGivesZero()
    {
        var x = Leaf(Normal(1, DType.Float32, 3, 8), DType.Float32);
        var loss = FusedLinearLosses.CrossEntropy(x, Tensor.FromInt32(Device, [-100, -100, -100], 3), Constant(Normal(2, DType.Float32, 9, 8), DType.Float32));
        Assert.That(loss.Item(), Is.Zero);
        Autograd.Backward(loss);
        Assert.That(x.Grad!.ToSingle(), Is.All.Zero);
    }

    [Test]
    public void LossOfEachRowIsThatOfItsLogits()
    {
        var x = Make([.. Enumerable.Range(0, 36).Select(i => i * 7 % 11 / 5f - 1)], [9, 4]);
        var weight = Make([.. Enumerable.Range(0, 20).Select(i => i * 5 % 13 / 6f - 1)], [5, 4]);
        var labels = Tensor.FromInt32(Device, [0, 1, 2, -100, 4, 3, 2, 1, 0], 9);
        var options = new CrossEntropyOptions { Reduction = LossReduction.None };
        var each = FusedLinearLosses.CrossEntropy(x, labels, weight, options: options, numChunks: 3);
        Assert.That(each.ToSingle(), Is.EqualTo(Losses.CrossEntropy(Products.Linear(x, weight), labels, options).ToSingle()).Within(1e-6));
        Assert.That(each.ToSingle()[3], Is.Zero);
    }

    [Test]
    public void WrongInputsAreTypedErrors()
    {
        var x = Make(new float[12], [3, 4]);
        var labels = Tensor.FromInt32(Device, [0, 1, 2], 3);
        var weight = Make(new float[20], [5, 4]);
        Assert.That(() => FusedLinearLosses.CrossEntropy(x, labels, Make(new float[15], [5, 3])), Throws.TypeOf<ShapeException>());
        Assert.That(() => FusedLinearLosses.CrossEntropy(x, Tensor.FromInt32(Device, [0, 1], 2), weight), Throws.TypeOf<ShapeException>());
        Assert.That(() => FusedLinearLosses.CrossEntropy(x, x, weight), Throws.TypeOf<DTypeException>());
        var trained = Make(new float[20], [5, 4]);
        trained.RequiresGrad = true;
        Assert.That(() => FusedLinearLosses.CrossEntropy(x, labels, trained, options: new() { Reduction = LossReduction.None }), Throws.TypeOf<ShapeException>());
        Assert.That(() => FusedLinearLosses.CrossEntropy(x, labels, weight.To(DType.Float16)), Throws.TypeOf<DTypeException>());
        var teacher = Make(new float[12], [3, 4]);
        teacher.RequiresGrad = true;
        Assert.That(() => FusedLinearLosses.KlDivergence(x, teacher, weight, weight), Throws.TypeOf<AutogradException>());
        Assert.That(() => FusedLinearLosses.KlDivergence(x, x, weight, Make(new float[24], [6, 4])), Throws.TypeOf<ShapeException>());
    }
}
