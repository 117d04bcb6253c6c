using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;
using CrossEntropyOptions = Fla.Vulkan.Ops.CrossEntropyOptions;
using ReferenceOptions = Fla.Testing.References.CrossEntropyOptions;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class LossesTests(TestDevice device) : NnTests(device)
{
    private static readonly CrossEntropyOptions[] Options =
    [
        new(),
        new() { Reduction = LossReduction.Sum, InplaceBackward = true },
        new() { Reduction = LossReduction.None },
        new() { LabelSmoothing = 0.1f, LogitScale = 0.7f },
        new() { LseSquareScale = 1e-2f, IgnoreIndex = 3 },
        new() { LogitSoftcapping = 2.5f, LogitScale = 1.5f },
        new() { LabelSmoothing = 0.2f, LseSquareScale = 1e-3f, LogitSoftcapping = 4, L2WarpFactor = 0.3f, InplaceBackward = true },
        new() { L2WarpFactor = 0.5f, Reduction = LossReduction.Sum },
    ];

    [Test]
    public void CrossEntropyOfEveryOption([ValueSource(nameof(Options))] CrossEntropyOptions options, [ValueSource(nameof(FloatTypes))] DType type, [Values(7, 96, 1500)] int width)
    {
        const int rows = 9;
        var logits = Round(Inputs.Normal(1, rows, width).Map(x => 3 * x), type);
        var labels = Inputs.Ids(2, width, rows);
        (labels[2], labels[7]) = (options.IgnoreIndex, options.IgnoreIndex);
        var each = options.Reduction == LossReduction.None;
        RefTensor dloss = each ? Inputs.Normal(3, rows) : new RefTensor([1.75f], 1);
        var expected = Reference.CrossEntropy(logits, labels, OfReference(options), dloss);
        var leaf = Leaf(logits, type);
        var (loss, z) = Losses.CrossEntropyWithZLoss(leaf.View(3, 3, width), Tensor.FromInt32(Device, labels, 3, 3), options);
        ErrorRatio.AssertClose(loss.ToSingle(), expected.Output("loss").ToFloats(), 1e-5, "loss");
        Assert.That(loss.Rank, Is.EqualTo(each ? 1 : 0));
        if (options.LseSquareScale != 0) ErrorRatio.AssertClose(z.ToSingle(), expected.Output("z_loss").ToFloats(), 1e-5, "z loss");
        else Assert.That(z.ToSingle(), Is.All.Zero);
        Autograd.Backward(loss, Make(dloss.ToFloats(), loss.Shape));
        ErrorRatio.AssertClose(leaf.Grad!.ToSingle(), expected.Grad("logits").ToFloats(), GradientTolerance(type), "gradient");
    }

    [Test]
    public void InplaceBackwardOverwritesTheLogits()
    {
        var logits = Leaf(Inputs.Normal(4, 3, 8), DType.Float32);
        var loss = Losses.CrossEntropy(logits, Tensor.FromInt64(Device, [1, 2, 3], 3), new() { InplaceBackward = true });
        Autograd.Backward(loss);
        Assert.That(logits.Grad!.ToSingle(), Is.EqualTo(logits.ToSingle()));
    }

    [Test]
    public void RowsAloneOverAChunk()
    {
        var logits = Inputs.Normal(5, 6, 20);
        int[] labels = [1, -100, 3, 4, 5, 6];
        var expected = Reference.CrossEntropy(logits, labels, null, new RefTensor([2f], 1));
        var onDevice = Constant(logits, DType.Float32);
        var ids = Tensor.FromInt32(Device, labels, 6);
        var losses = Tensor.Empty(Device, DType.Float32, 6);
        var count = CrossEntropyRows.Count(ids, -100);
        Assert.That(count.Item(), Is.EqualTo(5));
        for (var first = 0; first < 6; first += 4)
        {
            var n = Math.Min(4, 6 - first);
            var rows = onDevice.Narrow(first, n);
            CrossEntropyRows.Run(rows, ids.Narrow(first, n), new(), losses.Narrow(first, n), dlogits: rows, upstream: Make([2], [1]), divisor: count, totalRows: 6);
        }
        ErrorRatio.AssertClose([losses.ToSingle().Sum() / 5], expected.Output("loss").ToFloats(), 1e-5, "loss");
        ErrorRatio.AssertClose(onDevice.ToSingle(), expected.Grad("logits").ToFloats(), 1e-5, "gradient");
    }

    [Test]
    public void AllRowsIgnored()
    {
        var logits = Leaf(Inputs.Normal(6, 2, 5), DType.Float32);
        var labels = Tensor.FromInt32(Device, [-100, -100], 2);
        Assert.That(Losses.CrossEntropy(logits, labels).Item(), Is.NaN);
        Assert.That(Losses.CrossEntropy(logits, labels, new() { Reduction = LossReduction.Sum }).Item(), Is.Zero);
        Assert.That(CrossEntropyRows.Count(labels, -100, least: 1).Item(), Is.EqualTo(1));
    }

    [Test]
    public void LargeLogitsStayFinite()
    {
        var logits = Leaf(new RefTensor([3e4f, -3e4f, 0f, 1e30f, -1e30f, 0f], 2, 3), DType.Float32);
        var loss = Losses.CrossEntropy(logits, Tensor.FromInt32(Device, [0, 0], 2));
        Assert.That(loss.Item(), Is.Zero);
        Autograd.Backward(loss);
        Assert.That(logits.Grad!.ToSingle(), Is.All.Zero);
    }

    [Test]
    public void LabelsMoveToTheLeft([Values] bool isLong)
    {
        var labels = isLong ? Tensor.FromInt64(Device, [1, 2, 3, 4, 5, 6], 2, 3) : Tensor.FromInt32(Device, [1, 2, 3, 4, 5, 6], 2, 3);
        var shifted = Losses.ShiftLabels(labels);
        Assert.That(shifted.ToInt32(), Is.EqualTo(new[] { 2, 3, -100, 5, 6, -100 }));
        Assert.That(shifted.Shape.ToArray(), Is.EqualTo(new[] { 2, 3 }));
        Assert.That(Losses.ShiftLabels(Tensor.FromInt32(Device, [9], 1, 1), -1).ToInt32(), Is.EqualTo(new[] { -1 }));
    }

    [Test]
    public void WrongUseIsATypedError()
    {
        var logits = Make(new float[6], [2, 3]);
        var labels = Tensor.FromInt32(Device, [0, 1], 2);
        Assert.Multiple(() =>
        {
            Assert.That(() => Losses.CrossEntropy(logits, Tensor.FromInt32(Device, [0], 1)), Throws.TypeOf<ShapeException>());
            Assert.That(() => Losses.CrossEntropy(logits, Make([0, 1], [2])), Throws.TypeOf<DTypeException>());
            Assert.That(() => Losses.CrossEntropy(labels, labels), Throws.TypeOf<DTypeException>());
            Assert.That(() => Losses.CrossEntropy(logits, labels, new() { LabelSmoothing = 2 }), Throws.TypeOf<ShapeException>());
            Assert.That(() => Losses.CrossEntropy(logits, labels, new() { LogitSoftcapping = 0 }), Throws.TypeOf<ShapeException>());
            Assert.That(() => Losses.CrossEntropy(Tensor.Empty(Device, DType.Float32, 2, 0), labels), Throws.TypeOf<ShapeException>());
            Assert.That(() => Losses.ShiftLabels(logits), Throws.TypeOf<DTypeException>());
        });
    }

    private static ReferenceOptions OfReference(CrossEntropyOptions o) => new()
    {
        IgnoreIndex = o.IgnoreIndex, LabelSmoothing = o.LabelSmoothing, LogitScale = o.LogitScale, LseSquareScale = o.LseSquareScale, LogitSoftcapping = o.LogitSoftcapping,
        L2WarpFactor = o.L2WarpFactor, Reduction = o.Reduction switch { LossReduction.Mean => "mean", LossReduction.Sum => "sum", _ => "none" },
    };
}
