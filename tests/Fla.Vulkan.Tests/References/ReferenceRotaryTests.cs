using Fla.Testing.References;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.References;

[TestFixture]
public sealed class ReferenceRotaryTests
{
    [Test]
    public void Pairs_TurnByTheirFrequency([Values] bool interleaved)
    {
        // At position 1 of base 100 the two pairs turn by 1 and by 1/10; the fifth channel stays.
        RefTensor x = new([1.0, 2.0, 3.0, 4.0, 5.0], 1, 1, 1, 5);
        double[] o = Reference.Rotary(x, 4, 100, interleaved, [1]).O.Data;
        (int a, int b, int c, int d) = interleaved ? (0, 1, 2, 3) : (0, 2, 1, 3);
        Assert.Multiple(() =>
        {
            Assert.That(o[a], Is.EqualTo((x.Data[a] * Math.Cos(1)) - (x.Data[b] * Math.Sin(1))).Within(1e-12));
            Assert.That(o[b], Is.EqualTo((x.Data[a] * Math.Sin(1)) + (x.Data[b] * Math.Cos(1))).Within(1e-12));
            Assert.That(o[c], Is.EqualTo((x.Data[c] * Math.Cos(0.1)) - (x.Data[d] * Math.Sin(0.1))).Within(1e-12));
            Assert.That(o[d], Is.EqualTo((x.Data[c] * Math.Sin(0.1)) + (x.Data[d] * Math.Cos(0.1))).Within(1e-12));
            Assert.That(o[4], Is.EqualTo(5));
        });
    }

    [Test]
    public void PackedSequences_RestartAtTheirOffsets()
    {
        RefTensor x = Inputs.Normal(1, 1, 5, 2, 4);
        double[] packed = Reference.Rotary(x, offsets: [7, 0, 3], cuSeqlens: [0, 2, 2, 5]).O.Data;
        double[] first = Reference.Rotary(new RefTensor(x.Data[..16], 1, 2, 2, 4), offsets: [7]).O.Data;
        double[] last = Reference.Rotary(new RefTensor(x.Data[16..], 1, 3, 2, 4), offsets: [3]).O.Data;
        Assert.That(packed, Is.EqualTo(first.Concat(last)));
    }

    [Test]
    public void PositionsOutsideTheTable_GiveZeros()
    {
        RefTensor x = new([1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0], 1, 3, 1, 3);
        double[] o = Reference.Rotary(x, 2, offsets: [-1], tableLength: 1).O.Data;
        Assert.That(o, Is.EqualTo(new double[] { 0, 0, 3, 1, 2, 3, 0, 0, 3 }));
    }

    [Test]
    public void Gradient_IsTheRotationBack([Values] bool interleaved)
    {
        RefTensor x = Inputs.Normal(1, 2, 3, 2, 4);
        RefTensor turned = Reference.Rotary(x, interleaved: interleaved, offsets: [2, 5]).O;
        double[] back = Reference.Rotary(x, interleaved: interleaved, offsets: [2, 5], doutput: turned).Grad("x").Data;
        Assert.That(back, Is.EqualTo(x.Data).Within(1e-12));
    }

    [Test]
    public void WrongArguments_AreErrors()
    {
        RefTensor x = Inputs.Normal(1, 2, 3, 2, 4);
        Assert.That(() => Reference.Rotary(x, 3), Throws.ArgumentException);
        Assert.That(() => Reference.Rotary(x, 6), Throws.ArgumentException);
        Assert.That(() => Reference.Rotary(x, offsets: [1, 2, 3]), Throws.ArgumentException);
    }
}
