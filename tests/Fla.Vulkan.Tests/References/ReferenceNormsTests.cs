using Fla.Testing.References;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.References;

[TestFixture]
public sealed class ReferenceNormsTests
{
    private static readonly int[] Shape = [3, 6];

    [Test]
    public void RmsNorm_OfThreeFour()
    {
        RefResult r = Reference.RmsNorm(new RefTensor([3.0, 4.0], 1, 2), new RefTensor([1.0, 2.0], 2), eps: 0);
        Assert.That(r.O.Data, Is.EqualTo(new[] { 3 / Math.Sqrt(12.5), 8 / Math.Sqrt(12.5) }).Within(1e-15));
    }

    [Test]
    public void LayerNorm_AddsTheResidualFirst()
    {
        RefResult r = Reference.LayerNorm(
            new RefTensor([1.0, 1.0, 0.0, 0.0], 1, 4), residual: new RefTensor([0.0, 1.0, 3.0, 4.0], 1, 4), eps: 0.75);
        double rstd = 1 / Math.Sqrt(1.25 + 0.75);
        Assert.That(r.Output("residual").Data, Is.EqualTo(new[] { 1.0, 2, 3, 4 }));
        Assert.That(r.O.Data, Is.EqualTo(new[] { -1.5 * rstd, -0.5 * rstd, 0.5 * rstd, 1.5 * rstd }).Within(1e-15));
    }

    [Test]
    public void GroupNorm_IsLayerNormOfEachPart([Values] bool isRmsNorm)
    {
        RefTensor x = Inputs.Normal(1, Shape), parts = x.Reshape(6, 3);
        RefResult whole = Reference.GroupNorm(x, 2, isRmsNorm: isRmsNorm);
        Assert.That(whole.O.Data, Is.EqualTo((isRmsNorm ? Reference.RmsNorm(parts) : Reference.LayerNorm(parts)).O.Data));
    }

    // dx = (u − x̂ mean(x̂ u)) rstd, LayerNorm also less mean(u), with u = w dy.
    [Test]
    public void Gradient_IsTheClosedForm([Values] bool isRmsNorm)
    {
        RefTensor x = Inputs.Normal(1, 1, 6), weight = Inputs.Normal(2, 6), dy = Inputs.Normal(3, 1, 6);
        RefResult r = Reference.GroupNorm(x, 1, weight, isRmsNorm: isRmsNorm, doutput: dy);
        double mean = isRmsNorm ? 0 : x.Data.Average();
        double rstd = 1 / Math.Sqrt(x.Data.Average(a => (a - mean) * (a - mean)) + 1e-5);
        double[] hat = [.. x.Data.Select(a => (a - mean) * rstd)], u = [.. weight.Data.Zip(dy.Data, (a, b) => a * b)];
        double projection = hat.Zip(u, (a, b) => a * b).Average(), shift = isRmsNorm ? 0 : u.Average();
        Assert.That(r.Grad("x").Data, Is.EqualTo(hat.Zip(u, (a, b) => (b - shift - (a * projection)) * rstd)).Within(1e-12));
        Assert.That(r.Grad("weight").Data, Is.EqualTo(hat.Zip(dy.Data, (a, b) => a * b)).Within(1e-12));
    }

    [Test]
    public void FusedGatedNorms_MultiplyByTheActivatedGate([Values("swish", "sigmoid")] string activation)
    {
        RefTensor x = Inputs.Normal(1, Shape), g = Inputs.Normal(2, Shape), weight = Inputs.Normal(3, 6), bias = Inputs.Normal(4, 6);
        double[] gate = Reference.Activation(activation, g).O.Data;
        Assert.That(
            Reference.FusedRmsNormGated(x, g, weight, activation: activation).O.Data,
            Is.EqualTo(Reference.RmsNorm(x, weight).O.Data.Zip(gate, (a, b) => a * b)));
        Assert.That(
            Reference.FusedLayerNormGated(x, g, weight, bias, activation: activation).O.Data,
            Is.EqualTo(Reference.LayerNorm(x, weight, bias).O.Data.Zip(gate, (a, b) => a * b)));
    }

    [Test]
    public void NormGated_GatesBeforeOrAfter()
    {
        RefTensor x = Inputs.Normal(1, Shape), z = Inputs.Normal(2, Shape), weight = Inputs.Normal(3, 6);
        double[] gate = Reference.Activation("silu", z).O.Data;
        var gated = new RefTensor([.. x.Data.Zip(gate, (a, b) => a * b)], Shape);
        Assert.That(
            Reference.NormGated(x, z, weight, groupSize: 2).O.Data,
            Is.EqualTo(Reference.GroupNorm(gated, 3, weight, isRmsNorm: true).O.Data));
        Assert.That(
            Reference.NormGated(x, z, weight, normBeforeGate: true, isRmsNorm: false).O.Data,
            Is.EqualTo(Reference.LayerNorm(x, weight).O.Data.Zip(gate, (a, b) => a * b)));
        Assert.That(Reference.NormGated(x, null, weight).O.Data, Is.EqualTo(Reference.RmsNorm(x, weight).O.Data));
    }

    [Test]
    public void Gradients_AreFiniteDifferences(
        [Values("rms", "layer", "group", "fused rms", "fused layer", "gated before", "gated after")] string norm)
    {
        bool gated = norm.Contains("fused") || norm.Contains("gated"), mamba = norm.StartsWith("gated", StringComparison.Ordinal);
        Dictionary<string, RefTensor> inputs = new() { ["x"] = Inputs.Normal(1, Shape), ["weight"] = Inputs.Normal(2, 6) };
        Dictionary<string, RefTensor> seeds = new() { ["o"] = Inputs.Normal(3, Shape) };
        if (norm != "fused rms")
        {
            inputs.Add("bias", Inputs.Normal(4, 6));
        }

        if (gated)
        {
            inputs.Add("g", Inputs.Normal(5, Shape));
        }

        if (!mamba)
        {
            inputs.Add("residual", Inputs.Normal(6, Shape));
            seeds.Add("residual", Inputs.Normal(7, Shape));
        }

        RefTensor x = inputs["x"], w = inputs["weight"], o = seeds["o"];
        RefTensor? b = inputs.GetValueOrDefault("bias"), g = inputs.GetValueOrDefault("g"), r = inputs.GetValueOrDefault("residual");
        RefTensor? s = seeds.GetValueOrDefault("residual");
        FiniteDifferences.AssertGradients(inputs, seeds, () => norm switch
        {
            "rms" => Reference.RmsNorm(x, w, b, r, 0.01, o, s),
            "layer" => Reference.LayerNorm(x, w, b, r, 0.01, o, s),
            "group" => Reference.GroupNorm(x, 2, w, b, r, 0.01, false, o, s),
            "fused rms" => Reference.FusedRmsNormGated(x, g!, w, r, 0.01, "swish", o, s),
            "fused layer" => Reference.FusedLayerNormGated(x, g!, w, b, r, 0.01, "sigmoid", o, s),
            _ => Reference.NormGated(x, g, w, b, 0.01, 2, norm == "gated after", true, o),
        });
    }

    [Test]
    public void L2Norm_GivesUnitVectorsAndTheClosedFormGradient()
    {
        RefTensor x = Inputs.Normal(1, 1, 5), dy = Inputs.Normal(2, 1, 5);
        RefResult r = Reference.L2Norm(x, 0, dy);
        double rstd = 1 / Math.Sqrt(x.Data.Sum(a => a * a)), along = r.O.Data.Zip(dy.Data, (a, b) => a * b).Sum();
        Assert.That(r.O.Data, Is.EqualTo(x.Data.Select(a => a * rstd)).Within(1e-15));
        Assert.That(r.Grad("x").Data, Is.EqualTo(dy.Data.Zip(r.O.Data, (d, y) => rstd * (d - (y * along)))).Within(1e-12));
        Assert.That(Reference.L2Norm(RefTensor.Zeros(1, 2)).O.Data, Is.All.Zero);
    }

    [Test]
    public void Softmax_SumsToOneAndBearsLargeInputs()
    {
        RefTensor x = new([1000.0, 1000 + Math.Log(3), 0.0, 0.0], 2, 2), dy = Inputs.Normal(1, 2, 2);
        RefResult r = Reference.Softmax(x, dy);
        Assert.That(r.O.Data, Is.EqualTo(new[] { 0.25, 0.75, 0.5, 0.5 }).Within(1e-12));
        Assert.That(r.Grad("x").Data[0], Is.EqualTo(0.25 * 0.75 * (dy.Data[0] - dy.Data[1])).Within(1e-12));
    }

    [Test]
    public void WrongShapes_AreErrors()
    {
        RefTensor x = Inputs.Normal(1, Shape);
        Assert.That(() => Reference.RmsNorm(x, Inputs.Normal(2, 5)), Throws.ArgumentException);
        Assert.That(() => Reference.GroupNorm(x, 4), Throws.ArgumentException);
        Assert.That(() => Reference.RmsNorm(x, doutput: Inputs.Normal(2, 6, 3)), Throws.ArgumentException);
    }
}
