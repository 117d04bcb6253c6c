using NUnit.Framework;

namespace Fla.Testing.References;

/// <summary>Compares a reference's gradients with central differences of its outputs.</summary>
public static class FiniteDifferences
{
    private const int SampleSize = 30;

    /// <summary>
    /// Fails unless <paramref name="op"/> reports a gradient for exactly the given inputs, each equal to the central difference of
    /// Σ output · seed. Of a large input, 30 random elements are tried. Inputs are changed while it runs and restored.
    /// </summary>
    /// <param name="inputs">Inputs by the names their gradients have.</param>
    /// <param name="seeds">Output gradients by output name; <paramref name="op"/> must pass the same ones.</param>
    /// <param name="op">Evaluates the reference on the inputs.</param>
    public static void AssertGradients(
        IReadOnlyDictionary<string, RefTensor> inputs, IReadOnlyDictionary<string, RefTensor> seeds, Func<RefResult> op)
    {
        RefResult result = op();
        Assert.That(result.GradientNames, Is.EquivalentTo(inputs.Keys));
        var random = new Random(1);
        foreach ((string name, RefTensor input) in inputs)
        {
            double[] gradient = result.Grad(name).Data;
            int[] sample = [.. Enumerable.Range(0, input.Length)];
            random.Shuffle(sample);
            foreach (int i in sample.Take(SampleSize))
            {
                double x = input.Data[i], h = 1e-5 * Math.Max(1, Math.Abs(x));
                input.Data[i] = x + h;
                double above = Loss(op(), seeds);
                input.Data[i] = x - h;
                double below = Loss(op(), seeds);
                input.Data[i] = x;
                double expected = (above - below) / (2 * h);
                double tolerance = 1e-6 * (1 + Math.Abs(expected));
                Assert.That(gradient[i], Is.EqualTo(expected).Within(tolerance), $"gradient of {name}[{i}]");
            }
        }
    }

    private static double Loss(RefResult result, IReadOnlyDictionary<string, RefTensor> seeds) =>
        seeds.Sum(seed => result.Output(seed.Key).Data.Zip(seed.Value.Data, (a, b) => a * b).Sum());
}
