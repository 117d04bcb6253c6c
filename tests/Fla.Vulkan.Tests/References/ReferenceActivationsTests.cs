using Fla.Testing.References;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.References;

[TestFixture]
public sealed class ReferenceActivationsTests
{
    private static double Sigma(double x) => 1 / (1 + Math.Exp(-x));

    private static IEnumerable<TestCaseData> Derivatives()
    {
        yield return new("relu", (Func<double, double>)(x => x > 0 ? 1 : 0));
        yield return new("sigmoid", (Func<double, double>)(x => Sigma(x) * (1 - Sigma(x))));
        yield return new("logsigmoid", (Func<double, double>)(x => 1 - Sigma(x)));
        yield return new("silu", (Func<double, double>)(x => Sigma(x) * (1 + (x * (1 - Sigma(x))))));
        yield return new("swish", (Func<double, double>)(x => Sigma(x) * (1 + (x * (1 - Sigma(x))))));
        yield return new("sqrelu", (Func<double, double>)(x => 2 * Math.Max(x, 0)));
    }

    [TestCaseSource(nameof(Derivatives))]
    public void Derivative_IsTheClosedForm(string name, Func<double, double> derivative)
    {
        RefTensor x = Inputs.Normal(1, 4, 8), dy = Inputs.Normal(2, 4, 8);
        RefResult r = Reference.Activation(name, x, 2, dy);
        Assert.That(r.Grad("x").Data, Is.EqualTo(x.Data.Zip(dy.Data, (a, d) => derivative(a) * d / 2)).Within(1e-12));
    }

    [TestCase("relu", -1, 0)]
    [TestCase("relu", 2, 2)]
    [TestCase("sqrelu", 3, 9)]
    [TestCase("sigmoid", 0, 0.5)]
    [TestCase("logsigmoid", 0, -0.69314718056)]
    [TestCase("logsigmoid", -800, -800)]
    [TestCase("silu", 1, 0.73105857863)]
    [TestCase("gelu", 1, 0.84119199060)]
    public void Value_IsTheKnownOne(string name, double x, double expected) =>
        Assert.That(Reference.Activation(name, new RefTensor([x], 1)).O.Data[0], Is.EqualTo(expected).Within(1e-8));

    [TestCase("swiglu", 1, 3, 2.19317573590)]
    [TestCase("sigmoidglu", 1, 3, 2.19317573590)]
    [TestCase("powglu", 4, 3, 4 * 3 * 0.98201379004)]
    [TestCase("powglu", -1, 3, -3 * 0.26894142137)]
    public void GatedValue_IsTheKnownOne(string name, double x, double y, double expected) =>
        Assert.That(
            Reference.GatedActivation(name, new RefTensor([x], 1), new RefTensor([y], 1)).O.Data[0], Is.EqualTo(expected).Within(1e-8));

    [Test]
    public void GatedGradients_AreFiniteDifferences([Values("swiglu", "sigmoidglu", "powglu")] string name)
    {
        Dictionary<string, RefTensor> inputs = new() { ["x"] = Inputs.Normal(1, 3, 5), ["y"] = Inputs.Normal(2, 3, 5) };
        Dictionary<string, RefTensor> seeds = new() { ["o"] = Inputs.Normal(3, 3, 5) };
        FiniteDifferences.AssertGradients(
            inputs, seeds, () => Reference.GatedActivation(name, inputs["x"], inputs["y"], doutput: seeds["o"]));
    }

    [Test]
    public void GatedLinear_IsTheLinearMapOfTheProduct([Values("swiglu", "sigmoidglu", "powglu")] string name)
    {
        Dictionary<string, RefTensor> inputs = new()
        {
            ["x"] = Inputs.Normal(1, 3, 5), ["y"] = Inputs.Normal(2, 3, 5),
            ["weight"] = Inputs.Normal(3, 4, 5), ["bias"] = Inputs.Normal(4, 4),
        };
        Dictionary<string, RefTensor> seeds = new() { ["o"] = Inputs.Normal(5, 3, 4) };
        RefResult Run() => Reference.GatedLinear(name, inputs["x"], inputs["y"], inputs["weight"], inputs["bias"], doutput: seeds["o"]);
        RefTensor product = Reference.GatedActivation(name, inputs["x"], inputs["y"]).O;
        Assert.That(Run().O.Data, Is.EqualTo(Reference.Linear(product, inputs["weight"], inputs["bias"]).O.Data));
        FiniteDifferences.AssertGradients(inputs, seeds, Run);
    }

    [Test]
    public void BiasGelu_IsGeluOfTheSum()
    {
        Dictionary<string, RefTensor> inputs = new() { ["y"] = Inputs.Normal(1, 3, 5), ["b"] = Inputs.Normal(2, 5) };
        Dictionary<string, RefTensor> seeds = new() { ["o"] = Inputs.Normal(3, 3, 5) };
        RefResult Run() => Reference.BiasGelu(inputs["y"], inputs["b"], seeds["o"]);
        var sum = new RefTensor([.. inputs["y"].Data.Select((a, i) => a + inputs["b"].Data[i % 5])], 3, 5);
        Assert.That(Run().O.Data, Is.EqualTo(Reference.Activation("gelu", sum).O.Data));
        FiniteDifferences.AssertGradients(inputs, seeds, Run);
    }

    [Test]
    public void UnknownNames_AreErrors()
    {
        RefTensor x = Inputs.Normal(1, 2, 2);
        Assert.That(() => Reference.Activation("swishh", x), Throws.ArgumentException);
        Assert.That(() => Reference.GatedActivation("glu", x, x), Throws.ArgumentException);
    }
}
