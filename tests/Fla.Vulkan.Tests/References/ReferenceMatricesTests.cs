using Fla.Testing.References;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.References;

[TestFixture]
public sealed class ReferenceMatricesTests
{
    [Test]
    public void Matmul_OfTwoByTwo_InAllTranspositions([Values] bool transposeA, [Values] bool transposeB)
    {
        RefTensor a = new([1.0, 2.0, 3.0, 4.0], 2, 2), b = new([5.0, 6.0, 7.0, 8.0], 2, 2);
        RefResult r = Reference.Matmul(transposeA ? a.SwapLastAxes() : a, transposeB ? b.SwapLastAxes() : b, transposeA, transposeB);
        Assert.That(r.O.Data, Is.EqualTo(new double[] { 19, 22, 43, 50 }));
    }

    [Test]
    public void Matmul_GradientsAreFiniteDifferences([Values] bool transposeA, [Values] bool transposeB, [Values] bool sharedB)
    {
        const int Batch = 2, M = 2, K = 3, N = 4;
        int[] right = transposeB ? [N, K] : [K, N];
        Dictionary<string, RefTensor> inputs = new()
        {
            ["a"] = transposeA ? Inputs.Normal(1, Batch, K, M) : Inputs.Normal(1, Batch, M, K),
            ["b"] = sharedB ? Inputs.Normal(2, right) : Inputs.Normal(2, [Batch, .. right]),
            ["bias"] = Inputs.Normal(3, N),
        };
        Dictionary<string, RefTensor> seeds = new() { ["o"] = Inputs.Normal(4, Batch, M, N) };
        FiniteDifferences.AssertGradients(inputs, seeds, () => Reference.Matmul(
            inputs["a"], inputs["b"], transposeA, transposeB, inputs["bias"], "silu", seeds["o"]));
    }

    [Test]
    public void Matmul_TakesEachBatchByItself()
    {
        RefTensor a = Inputs.Normal(1, 2, 2, 3), b = Inputs.Normal(2, 2, 3, 4);
        double[] both = Reference.Matmul(a, b).O.Data;
        RefResult second = Reference.Matmul(new RefTensor(a.Data[6..], 2, 3), new RefTensor(b.Data[12..], 3, 4));
        Assert.That(both[8..], Is.EqualTo(second.O.Data));
    }

    [Test]
    public void Linear_IsMatmulWithTheTransposedWeight()
    {
        RefTensor x = Inputs.Normal(1, 3, 4), weight = Inputs.Normal(2, 5, 4), bias = Inputs.Normal(3, 5), dy = Inputs.Normal(4, 3, 5);
        RefResult linear = Reference.Linear(x, weight, bias, dy), product = Reference.Matmul(x, weight, false, true, bias, null, dy);
        Assert.That(linear.O.Data, Is.EqualTo(product.O.Data));
        Assert.That(linear.Grad("x").Data, Is.EqualTo(product.Grad("a").Data).Within(1e-12));
        Assert.That(linear.Grad("weight").Data, Is.EqualTo(product.Grad("b").Data).Within(1e-12));
        Assert.That(linear.Grad("bias").Data, Is.EqualTo(product.Grad("bias").Data).Within(1e-12));
    }

    [Test]
    public void Embedding_LooksUpAndSumsGradientsOfEqualIds()
    {
        RefTensor weight = new([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3, 2), dy = new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0], 3, 2);
        RefResult r = Reference.Embedding([2, 0, 2], weight, 10, dy);
        Assert.That(r.O.Data, Is.EqualTo(new double[] { 50, 60, 10, 20, 50, 60 }));
        Assert.That(r.Grad("weight").Data, Is.EqualTo(new double[] { 40, 80, 0, 0, 170, 340 }));
    }

    [Test]
    public void WrongShapes_AreErrors()
    {
        RefTensor a = Inputs.Normal(1, 2, 3), b = Inputs.Normal(2, 2, 3);
        Assert.That(() => Reference.Matmul(a, b), Throws.ArgumentException);
        Assert.That(() => Reference.Matmul(a, b, false, true, Inputs.Normal(3, 3)), Throws.ArgumentException);
        Assert.That(() => Reference.Linear(a, Inputs.Normal(3, 3, 2)), Throws.ArgumentException);
    }
}
