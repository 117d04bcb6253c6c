using Fla.Testing.References;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.References;

[TestFixture]
public sealed class ReferenceOptimizerTests
{
    [Test]
    public void FirstStep_MovesByTheLearningRateAgainstTheGradientsSign()
    {
        RefTensor zero = RefTensor.Zeros(2);
        RefTensor param = new([1.0, -2.0], 2), grad = new([3.0, -0.5], 2);
        RefResult r = Reference.AdamW(param, grad, zero, zero, 1, 0.01, eps: 0, weightDecay: 0);
        Assert.That(r.Output("param").Data, Is.EqualTo(new[] { 0.99, -1.99 }).Within(1e-12));
        Assert.That(r.Output("m").Data, Is.EqualTo(new[] { 0.3, -0.05 }).Within(1e-12));
        Assert.That(r.Output("v").Data, Is.EqualTo(new[] { 0.009, 0.00025 }).Within(1e-12));
    }

    [Test]
    public void Decay_IsDecoupledFromTheGradient()
    {
        RefTensor zero = RefTensor.Zeros(1);
        RefResult r = Reference.AdamW(new RefTensor([2.0], 1), zero, zero, zero, 1, 0.1, weightDecay: 0.5);
        Assert.That(r.Output("param").Data[0], Is.EqualTo(2 * (1 - 0.05)).Within(1e-12));
    }

    // m = .9·1 + .1·2 = 1.1, m̂ = 1.1/.271; v = .99·4 + .01·4 = 4, v̂ = 4/(1 − .99³).
    [Test]
    public void LaterStep_CorrectsTheBiasOfBothMoments()
    {
        RefResult r = Reference.AdamW(
            new RefTensor([0.0], 1), new RefTensor([2.0], 1), new RefTensor([1.0], 1), new RefTensor([4.0], 1), 3, 1, 0.9, 0.99, 0.5, 0);
        Assert.That(r.Output("param").Data[0], Is.EqualTo(-(1.1 / 0.271) / (Math.Sqrt(4 / 0.029701) + 0.5)).Within(1e-12));
    }

    [Test]
    public void Clipping_ScalesAllGradientsToTheGlobalNorm()
    {
        RefTensor[] grads = [new([3.0], 1), new([0.0, 4.0], 2)];
        RefResult r = Reference.ClipGradNorm(grads, 1);
        Assert.That(r.Output("norm").Data[0], Is.EqualTo(5));
        Assert.That(r.Output("1").Data, Is.EqualTo(new[] { 0, 4 / 5.000001 }).Within(1e-12));
        Assert.That(Reference.ClipGradNorm(grads, 6).Output("0").Data, Is.EqualTo(new[] { 3.0 }), "a small norm is left alone");
    }

    [Test]
    public void StepZero_IsAnError()
    {
        RefTensor x = RefTensor.Zeros(1);
        Assert.That(() => Reference.AdamW(x, x, x, x, 0, 0.1), Throws.InstanceOf<ArgumentOutOfRangeException>());
    }
}
