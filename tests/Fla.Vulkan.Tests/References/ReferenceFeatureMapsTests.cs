using Fla.Testing.References;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.References;

[TestFixture]
public sealed class ReferenceFeatureMapsTests
{
    [Test]
    public void Hedgehog_IsTheSoftmaxOfBothSigns()
    {
        RefTensor x = new([0.5, -1.0], 1, 2), identity = new([1.0, 0.0, 0.0, 1.0], 2, 2), zero = RefTensor.Zeros(2);
        double[] terms = [Math.Exp(1), Math.Exp(-2), Math.Exp(-1), Math.Exp(2)];
        Assert.That(Reference.Hedgehog(x, identity, zero).O.Data, Is.EqualTo(terms.Select(a => a / terms.Sum())).Within(1e-12));
    }

    [Test]
    public void Dpfp_RollsTowardsHigherIndices()
    {
        // r = [2, 0, -2, 0]: roll by 1 is [0, 2, 0, -2], by 2 is [-2, 0, 2, 0].
        RefResult r = Reference.Dpfp(new RefTensor([2.0, -3.0], 1, 2), 2);
        Assert.That(r.O.Shape, Is.EqualTo(new[] { 1, 8 }));
        Assert.That(r.O.Data, Is.EqualTo(new double[] { 0, 0, 0, 0, -4, 0, -4, 0 }));
    }

    [Test]
    public void ParameterFreeMaps_HaveTheKnownValues()
    {
        Assert.That(
            Reference.EluPlusOne(new RefTensor([2.0, -1.0, 0.0], 1, 3)).O.Data, Is.EqualTo(new[] { 3, Math.Exp(-1), 1 }).Within(1e-15));
        Assert.That(
            Reference.SumNormalize(new RefTensor([1.0, 3.0], 1, 2), 1).O.Data, Is.EqualTo(new[] { 0.2, 0.6 }).Within(1e-15));
    }

    [Test]
    public void T2RAndHadamard_AreMadeOfLinearMaps()
    {
        RefTensor x = Inputs.Normal(1, 3, 4), w1 = Inputs.Normal(2, 4, 4), b1 = Inputs.Normal(3, 4);
        RefTensor w2 = Inputs.Normal(4, 4, 4), b2 = Inputs.Normal(5, 4);
        double[] first = Reference.Linear(x, w1, b1).O.Data, second = Reference.Linear(x, w2, b2).O.Data;
        Assert.That(Reference.T2R(x, w1, b1).O.Data, Is.EqualTo(first.Select(a => Math.Max(a, 0))));
        Assert.That(Reference.Hadamard(x, w1, b1, w2, b2).O.Data, Is.EqualTo(first.Zip(second, (a, b) => a * b)));
    }

    [Test]
    public void Gradients_AreFiniteDifferences([Values("hedgehog", "t2r", "hadamard", "dpfp", "elu", "sum")] string map)
    {
        const int K = 3;
        Dictionary<string, RefTensor> inputs = new() { ["x"] = map == "sum" ? Inputs.Uniform(1, 0.5, 1, 2, K) : Inputs.Normal(1, 2, K) };
        string[] parameters = map switch
        {
            "hedgehog" => ["weight", "bias"],
            "t2r" => ["weight"],
            "hadamard" => ["weight1", "bias1", "weight2", "bias2"],
            _ => [],
        };
        foreach (string name in parameters)
        {
            bool isBias = name.StartsWith("bias", StringComparison.Ordinal);
            inputs.Add(name, isBias ? Inputs.Normal(inputs.Count, K) : Inputs.Normal(inputs.Count, K, K));
        }

        int features = map switch { "hedgehog" => 2 * K, "dpfp" => 8 * K, _ => K };
        Dictionary<string, RefTensor> seeds = new() { ["o"] = Inputs.Normal(9, 2, features) };
        RefTensor x = inputs["x"], d = seeds["o"];
        FiniteDifferences.AssertGradients(inputs, seeds, () => map switch
        {
            "hedgehog" => Reference.Hedgehog(x, inputs["weight"], inputs["bias"], d),
            "t2r" => Reference.T2R(x, inputs["weight"], doutput: d),
            "hadamard" => Reference.Hadamard(x, inputs["weight1"], inputs["bias1"], inputs["weight2"], inputs["bias2"], d),
            "dpfp" => Reference.Dpfp(x, doutput: d),
            "elu" => Reference.EluPlusOne(x, d),
            _ => Reference.SumNormalize(x, doutput: d),
        });
    }
}
