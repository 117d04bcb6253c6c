using Fla.Testing.References;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.References;

[TestFixture]
public sealed class ReferenceLossesTests
{
    private const int Rows = 4, Classes = 5, Width = 3;

    private static readonly int[] Labels = [2, -100, 0, 4];

    private static readonly CrossEntropyOptions AllOptions =
        new() { LabelSmoothing = 0.1, LogitScale = 1.7, LseSquareScale = 0.01, LogitSoftcapping = 3 };

    private static readonly RefTensor One = new([1.0], 1);

    [Test]
    public void CrossEntropy_OfEqualLogits_IsTheLogOfTheirNumber()
    {
        RefTensor logits = RefTensor.Zeros(Rows, Classes);
        double[] Loss(string reduction) => Reference.CrossEntropy(logits, Labels, new() { Reduction = reduction }).Output("loss").Data;
        double ln5 = Math.Log(Classes);
        Assert.That(Loss("mean"), Is.EqualTo(new[] { ln5 }).Within(1e-12));
        Assert.That(Loss("sum"), Is.EqualTo(new[] { 3 * ln5 }).Within(1e-12));
        Assert.That(Loss("none"), Is.EqualTo(new[] { ln5, 0, ln5, ln5 }).Within(1e-12));
    }

    // scale (p (1 + 2 λ lse) − ε/V − (1−ε)[y]) (1 − tanh²) a row, over the rows counted.
    [Test]
    public void CrossEntropy_WithAllOptions_HasTheClosedFormLossAndGradient()
    {
        RefTensor logits = Inputs.Normal(1, Rows, Classes);
        RefResult r = Reference.CrossEntropy(logits, Labels, AllOptions, new RefTensor([0.5], 1));
        double loss = 0, zLoss = 0;
        var gradient = new double[logits.Length];
        for (int row = 0; row < Rows; row++)
        {
            if (Labels[row] == -100)
            {
                continue;
            }

            double[] tanh = [.. logits.Data[(row * Classes)..((row + 1) * Classes)].Select(a => Math.Tanh(1.7 * a / 3))];
            double lse = Math.Log(tanh.Sum(a => Math.Exp(3 * a)));
            for (int i = 0; i < Classes; i++)
            {
                double target = (0.1 / Classes) + (i == Labels[row] ? 0.9 : 0), p = Math.Exp((3 * tanh[i]) - lse);
                loss += target * (lse - (3 * tanh[i])) / 3;
                gradient[(row * Classes) + i] = 0.5 / 3 * 1.7 * ((p * (1 + (0.02 * lse))) - target) * (1 - (tanh[i] * tanh[i]));
            }

            zLoss += 0.01 * lse * lse / 3;
        }

        Assert.That(r.Output("z_loss").Data[0], Is.EqualTo(zLoss).Within(1e-12));
        Assert.That(r.Output("loss").Data[0], Is.EqualTo(loss + zLoss).Within(1e-12));
        Assert.That(r.Grad("logits").Data, Is.EqualTo(gradient).Within(1e-12));
    }

    [Test]
    public void CrossEntropy_GradientsAreFiniteDifferences([Values("mean", "sum", "none")] string reduction)
    {
        Dictionary<string, RefTensor> inputs = new() { ["logits"] = Inputs.Normal(1, Rows, Classes) };
        Dictionary<string, RefTensor> seeds = new() { ["loss"] = Inputs.Normal(2, reduction == "none" ? Rows : 1) };
        CrossEntropyOptions options = AllOptions with { Reduction = reduction };
        FiniteDifferences.AssertGradients(inputs, seeds, () => Reference.CrossEntropy(inputs["logits"], Labels, options, seeds["loss"]));
    }

    [Test]
    public void FusedLinearCrossEntropy_IsTheCrossEntropyOfTheLinearMap([Values("mean", "sum")] string reduction)
    {
        Dictionary<string, RefTensor> inputs = new()
        {
            ["x"] = Inputs.Normal(1, Rows, Width), ["weight"] = Inputs.Normal(2, Classes, Width), ["bias"] = Inputs.Normal(3, Classes),
        };
        Dictionary<string, RefTensor> seeds = new() { ["loss"] = new([0.5], 1) };
        CrossEntropyOptions options = new() { Reduction = reduction, LabelSmoothing = 0.1, LogitSoftcapping = 2 };
        RefResult Run() => Reference.FusedLinearCrossEntropy(inputs["x"], Labels, inputs["weight"], inputs["bias"], options, seeds["loss"]);
        RefTensor logits = Reference.Linear(inputs["x"], inputs["weight"], inputs["bias"]).O;
        Assert.That(Run().Output("loss").Data, Is.EqualTo(Reference.CrossEntropy(logits, Labels, options).Output("loss").Data));
        FiniteDifferences.AssertGradients(inputs, seeds, Run);
    }

    [Test]
    public void NoRowAtAll_IsNaN_ButZeroWhenLinear()
    {
        RefTensor logits = Inputs.Normal(1, 2, Classes), weight = Inputs.Normal(2, Classes, Classes);
        Assert.That(Reference.CrossEntropy(logits, [-100, -100]).Output("loss").Data[0], Is.NaN);
        RefResult linear = Reference.FusedLinearCrossEntropy(logits, [-100, -100], weight, dloss: One);
        Assert.That(linear.Output("loss").Data[0], Is.Zero);
        Assert.That(linear.Grad("weight").Data, Is.All.Zero);
    }

    [Test]
    public void L2Warp_AddsToTheGradientOfTheLargestLogitOnly()
    {
        RefTensor logits = Inputs.Normal(1, Rows, Classes), dloss = new([0.5], 1);
        RefResult plain = Reference.CrossEntropy(logits, Labels, new(), dloss);
        RefResult warped = Reference.CrossEntropy(logits, Labels, new() { L2WarpFactor = 0.1 }, dloss);
        Assert.That(warped.Output("loss").Data, Is.EqualTo(plain.Output("loss").Data));
        double[] expected = [.. plain.Grad("logits").Data];
        for (int row = 0; row < Rows; row++)
        {
            double[] x = logits.Data[(row * Classes)..((row + 1) * Classes)];
            expected[(row * Classes) + Array.IndexOf(x, x.Max())] += 0.5 * 0.1 * x.Max() / Rows;
        }

        Assert.That(warped.Grad("logits").Data, Is.EqualTo(expected).Within(1e-12));
    }

    [Test]
    public void FusedKlDiv_HasTheClosedFormLossAndGradient()
    {
        Dictionary<string, RefTensor> inputs = new()
        {
            ["x"] = Inputs.Normal(1, Rows, Width), ["weight"] = Inputs.Normal(2, Classes, Width),
        };
        Dictionary<string, RefTensor> seeds = new() { ["loss"] = One };
        RefTensor targetX = Inputs.Normal(3, Rows, 2), targetWeight = Inputs.Normal(4, Classes, 2);
        RefResult Run() => Reference.FusedKlDiv(inputs["x"], targetX, inputs["weight"], targetWeight, One);
        double[] student = Reference.Softmax(Reference.Linear(inputs["x"], inputs["weight"]).O).O.Data;
        double[] teacher = Reference.Softmax(Reference.Linear(targetX, targetWeight).O).O.Data;
        double expected = teacher.Zip(student, (t, s) => t * (Math.Log(t) - Math.Log(s))).Sum() / Rows;
        Assert.That(Run().Output("loss").Data[0], Is.EqualTo(expected).Within(1e-12));
        var dlogits = new RefTensor([.. student.Zip(teacher, (s, t) => (s - t) / Rows)], Rows, Classes);
        Assert.That(
            Run().Grad("weight").Data,
            Is.EqualTo(Reference.Matmul(dlogits, inputs["x"], transposeA: true).O.Data).Within(1e-12));
        FiniteDifferences.AssertGradients(inputs, seeds, Run);
    }

    [Test]
    public void WrongArguments_AreErrors()
    {
        RefTensor logits = Inputs.Normal(1, 1, Classes);
        Assert.That(() => Reference.CrossEntropy(logits, [Classes]), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => Reference.CrossEntropy(logits, [-1]), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => Reference.CrossEntropy(logits, [0, 1]), Throws.ArgumentException);
        Assert.That(() => Reference.CrossEntropy(logits, [0], new() { Reduction = "average" }), Throws.ArgumentException);
    }
}
