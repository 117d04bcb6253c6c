using Fla.Testing.References;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.References;

[TestFixture]
public sealed class ReferenceShortConvolutionTests
{
    [Test]
    public void LastTap_MeetsTheCurrentToken()
    {
        RefTensor x = new([1.0, 2.0, 3.0], 1, 3, 1), weight = new([100.0, 10.0, 1.0], 1, 1, 3);
        RefResult r = Reference.ShortConvolution(x, weight, new RefTensor([0.5], 1), activation: null);
        Assert.That(r.O.Data, Is.EqualTo(new[] { 1.5, 12.5, 123.5 }));
        Assert.That(r.FinalState.Data, Is.EqualTo(new[] { 1.0, 2, 3 }));
    }

    [Test]
    public void InitialState_ComesBeforeTheFirstToken()
    {
        RefTensor x = new([1.0], 1, 1, 1), weight = new([100.0, 10.0, 1.0], 1, 3), h0 = new([7.0, 8.0, 9.0], 1, 1, 3);
        RefResult r = Reference.ShortConvolution(x, weight, activation: null, initialState: h0);
        Assert.That(r.O.Data, Is.EqualTo(new[] { 891.0 }));
        Assert.That(r.FinalState.Data, Is.EqualTo(new[] { 8.0, 9, 1 }));
    }

    [Test]
    public void Residual_IsAddedAfterTheActivation()
    {
        RefTensor x = Inputs.Normal(1, 1, 4, 2), weight = Inputs.Normal(2, 2, 3), residual = Inputs.Normal(3, 1, 4, 2);
        RefTensor plain = Reference.ShortConvolution(x, weight, activation: null).O;
        double[] expected = [.. Reference.Activation("silu", plain).O.Data.Zip(residual.Data, (a, b) => a + b)];
        Assert.That(Reference.ShortConvolution(x, weight, residual: residual).O.Data, Is.EqualTo(expected));
    }

    [Test]
    public void PackedSequences_DoNotLeak()
    {
        RefTensor x = Inputs.Normal(1, 1, 5, 2), weight = Inputs.Normal(2, 2, 4), h0 = Inputs.Normal(3, 3, 2, 4);
        RefResult packed = Reference.ShortConvolution(x, weight, initialState: h0, cuSeqlens: [0, 2, 2, 5]);
        RefResult last = Reference.ShortConvolution(
            new RefTensor(x.Data[4..], 1, 3, 2), weight, initialState: new RefTensor(h0.Data[16..], 1, 2, 4));
        Assert.That(packed.O.Data[4..], Is.EqualTo(last.O.Data));
        Assert.That(packed.FinalState.Data[16..], Is.EqualTo(last.FinalState.Data));
        Assert.That(packed.FinalState.Data[8..16], Is.EqualTo(h0.Data[8..16]), "an empty sequence keeps its state");
    }

    [Test]
    public void Gradients_AreFiniteDifferences([Values(null, "silu")] string? activation)
    {
        Dictionary<string, RefTensor> inputs = new()
        {
            ["x"] = Inputs.Normal(1, 1, 7, 2), ["weight"] = Inputs.Normal(2, 2, 4), ["bias"] = Inputs.Normal(3, 2),
            ["residual"] = Inputs.Normal(4, 1, 7, 2), ["h0"] = Inputs.Normal(5, 3, 2, 4),
        };
        Dictionary<string, RefTensor> seeds = new() { ["o"] = Inputs.Normal(6, 1, 7, 2), ["ht"] = Inputs.Normal(7, 3, 2, 4) };
        FiniteDifferences.AssertGradients(inputs, seeds, () => Reference.ShortConvolution(
            inputs["x"], inputs["weight"], inputs["bias"], inputs["residual"], activation, inputs["h0"], [0, 2, 2, 7],
            seeds["o"], seeds["ht"]));
    }

    [Test]
    public void WrongShapes_AreErrors()
    {
        RefTensor x = Inputs.Normal(1, 1, 5, 2);
        Assert.That(() => Reference.ShortConvolution(x, Inputs.Normal(2, 3, 4)), Throws.ArgumentException);
        Assert.That(
            () => Reference.ShortConvolution(x, Inputs.Normal(2, 2, 4), initialState: Inputs.Normal(3, 1, 2, 3)), Throws.ArgumentException);
    }
}
