using Fla.Testing;
using Fla.Vulkan;
using NUnit.Framework;

namespace Fla.Layers.Tests;

public sealed class WeightRuleTests(TestDevice device) : DeviceTests(device)
{
    [TestCase(40, 70, 1.0)]
    [TestCase(70, 40, 0.1)]
    [TestCase(66, 66, 2.0)]
    [TestCase(1, 5, 1.0)]
    [TestCase(5, 1, 1.0)]
    public void OrthogonalRowsOrColumns(int rows, int columns, double gain)
    {
        var w = Fill(WeightRules.Orthogonal(gain), rows, columns);
        var isWide = rows <= columns;
        var (count, length) = isWide ? (rows, columns) : (columns, rows);
        double Element(int vector, int place) => isWide ? w[(vector * columns) + place] : w[(place * columns) + vector];
        for (var i = 0; i < count; i++)
        {
            for (var j = 0; j <= i; j++)
            {
                var dot = Enumerable.Range(0, length).Sum(t => Element(i, t) * Element(j, t));
                Assert.That(dot, Is.EqualTo(i == j ? gain * gain : 0).Within(2e-6 * gain * gain), $"{i}·{j}");
            }
        }
    }

    [Test]
    public void StepsLieEvenlyOverTheLogarithm()
    {
        var steps = Fill(WeightRules.InverseSoftplusOfStep, 2000).Select(b => Math.Log(Math.Exp(b) + 1)).Order().ToArray();
        Assert.That(steps[0], Is.InRange(1e-3 * 0.9999, 1.1e-3));
        Assert.That(steps[^1], Is.InRange(0.095, 0.1 * 1.0001));
        Assert.That(steps[1000], Is.EqualTo(0.01).Within(1e-3));
    }

    [Test]
    public void LogUniformIsTheLogarithmOfEvenValues()
    {
        var values = Fill(WeightRules.LogUniform(1, 16), 3000).Select(a => Math.Exp(a)).ToArray();
        Assert.That(values.Min(), Is.InRange(1, 1.1));
        Assert.That(values.Max(), Is.InRange(15.9, 16.001));
        Assert.That(values.Average(), Is.EqualTo(8.5).Within(0.3));
    }

    [Test]
    public void UniformValuesLieBetweenTheirBounds()
    {
        var values = Fill(WeightRules.Uniform(-1e-4, 1e-4), 1000);
        Assert.That(values.Select(Math.Abs).Max(), Is.InRange(0.98e-4, 1.0001e-4));
        Assert.That(values.Average(), Is.EqualTo(0).Within(1e-5));
        var kaiming = Fill(WeightRules.KaimingUniform(2), 10, 64);
        Assert.That(kaiming.Select(Math.Abs).Max(), Is.InRange(0.06, 1.0001 / 16));
    }

    [Test]
    public void ValuesTakeTheirIndices() =>
        Assert.That(Fill(WeightRules.Values(i => (100 * i[0]) + (10 * i[1]) + i[2]), 2, 1, 3), Is.EqualTo(new float[] { 0, 1, 2, 100, 101, 102 }));

    private float[] Fill(WeightRule rule, params int[] shape)
    {
        var tensor = Tensor.Empty(Device, DType.Float32, shape);
        rule(new(3), tensor, "some.weight");
        return tensor.ToSingle();
    }
}
