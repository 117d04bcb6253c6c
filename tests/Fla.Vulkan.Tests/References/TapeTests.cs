using Fla.Testing.References;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.References;

[TestFixture]
public sealed class TapeTests
{
    private static IEnumerable<TestCaseData> Functions()
    {
        yield return Case("sum", (a, b) => a + b);
        yield return Case("difference", (a, b) => a - b);
        yield return Case("negation", (a, b) => -a + b);
        yield return Case("product", (a, b) => a * b);
        yield return Case("quotient", (a, b) => a / b);
        yield return Case("exp", (a, b) => Var.Exp(a * b));
        yield return Case("log", (a, b) => Var.Log((a * a) + b));
        yield return Case("sqrt", (a, b) => Var.Sqrt((a * a) + b));
        yield return Case("sigmoid", (a, b) => Var.Sigmoid(a - b));
        yield return Case("tanh", (a, b) => Var.Tanh(a - b));
        yield return Case("abs", (a, b) => Var.Abs(a) * b);
        yield return Case("relu", (a, b) => (Var.Relu(a) * b) + (Var.Relu(b) * a));
        yield return Case("max", (a, b) => Var.Max(a, b) * b);
        yield return Case("min", (a, b) => Var.Min(a, b) * b);
        yield return Case("sum of many", (a, b) => Var.Sum([a, b, 2.0, a]) * b);
        yield return Case("dot", (a, b) => Var.Dot([a, b, 2.0], [b, a * b, a]));
        yield return Case("logsumexp", (a, b) => Var.LogSumExp([a, b, a * b, 700.0 * b]));

        static TestCaseData Case(string name, Func<Var, Var, Var> f) => new TestCaseData(f).SetArgDisplayNames(name);
    }

    [TestCaseSource(nameof(Functions))]
    public void Derivative_IsThatOfFiniteDifferences(Func<Var, Var, Var> f)
    {
        const double A = -0.7, B = 1.3, H = 1e-6;
        var tape = new Tape();
        Var a = tape.Leaf(A), b = tape.Leaf(B);
        tape.Seed(f(a, b), 2);
        tape.Backward();
        Assert.That(tape.Gradient(a), Is.EqualTo((f(A + H, B).Value - f(A - H, B).Value) / H).Within(1e-6));
        Assert.That(tape.Gradient(b), Is.EqualTo((f(A, B + H).Value - f(A, B - H).Value) / H).Within(1e-6));
    }

    [Test]
    public void Backward_AddsUpPiecesAndForgetsThem()
    {
        var tape = new Tape();
        Var x = tape.Leaf(3);
        for (int i = 0; i < 4; i++)
        {
            tape.Seed(x * x, 1);
            tape.Seed(x, 0.5);
            tape.Backward();
            Assert.That(tape.Count, Is.EqualTo(1));
        }

        Assert.That(tape.Gradient(x), Is.EqualTo(4 * 6.5));
    }

    [Test]
    public void Constants_AreNotRecorded()
    {
        Var y = Var.Exp(2.0) + Var.Dot([1.0, 2.0], [3.0, 4.0]);
        var tape = new Tape();
        tape.Seed(y, 1);
        Assert.That(tape.Count, Is.Zero);
        Assert.That(tape.Gradient(y), Is.Zero);
        Assert.That(y.Value, Is.EqualTo(Math.Exp(2) + 11));
    }

    [Test]
    public void UsingAForgottenValue_IsAnError()
    {
        var tape = new Tape();
        Var x = tape.Leaf(3), y = x * x;
        tape.Backward();
        Assert.That(() => y * 2, Throws.InvalidOperationException);
        Assert.That(() => tape.Seed(y, 1), Throws.InvalidOperationException);
        Assert.That(() => new Tape().Seed(x, 1), Throws.InvalidOperationException);
    }

    [Test]
    public void Leaf_AfterAnOperation_IsAnError()
    {
        var tape = new Tape();
        Var x = tape.Leaf(3);
        tape.Seed(x * x, 1);
        Assert.That(() => tape.Leaf(1), Throws.InvalidOperationException);
    }

    [Test]
    public void LongChain_HasTheDerivativeOfItsProduct()
    {
        const int Length = 1_000_000;
        var tape = new Tape();
        Var x = tape.Leaf(1), y = 1;
        for (int i = 0; i < Length; i++)
        {
            y *= x;
        }

        tape.Seed(y, 1);
        tape.Backward();
        Assert.That(tape.Gradient(x), Is.EqualTo(Length));
    }
}
