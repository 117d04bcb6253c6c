using NUnit.Framework;

namespace Fla.Testing.References;

/// <summary>What a reference computed, by name.</summary>
public sealed class RefResult
{
    private readonly Dictionary<string, RefTensor> outputs;
    private readonly Dictionary<string, RefTensor> gradients;

    internal RefResult(Dictionary<string, RefTensor> outputs, Dictionary<string, RefTensor> gradients)
    {
        this.outputs = outputs;
        this.gradients = gradients;
    }

    /// <summary>The output named "o".</summary>
    public RefTensor O => Output("o");

    /// <summary>The output named "ht": the state after the last step.</summary>
    public RefTensor FinalState => Output("ht");

    /// <summary>Every result: outputs under their names, gradients as "grad.NAME" with the input's name.</summary>
    public IEnumerable<(string Name, RefTensor Value)> All =>
        outputs.Select(x => (x.Key, x.Value)).Concat(gradients.Select(x => ("grad." + x.Key, x.Value)));

    /// <summary>Names of the inputs that have a gradient; none when no output gradient was given.</summary>
    public IReadOnlyCollection<string> GradientNames => gradients.Keys;

    /// <summary>An output by name.</summary>
    public RefTensor Output(string name) => Find(outputs, "output", name);

    /// <summary>The gradient of an input by name.</summary>
    public RefTensor Grad(string input) => Find(gradients, "gradient", input);

    /// <summary>A result by the name it has in <see cref="All"/>.</summary>
    public RefTensor this[string name] =>
        name.StartsWith("grad.", StringComparison.Ordinal) ? Grad(name["grad.".Length..]) : Output(name);

    /// <summary>
    /// Fails the test unless <paramref name="actual"/> has every result of <see cref="All"/> and no other, each with an error ratio
    /// below its tolerance. Empty results only have to be there.
    /// </summary>
    /// <param name="actual">What was computed, under the names of <see cref="All"/>.</param>
    /// <param name="tolerance">For outputs.</param>
    /// <param name="gradientTolerance">For gradients.</param>
    public void AssertClose(IReadOnlyDictionary<string, float[]> actual, double tolerance, double gradientTolerance)
    {
        Assert.That(actual.Keys, Is.EquivalentTo(All.Select(x => x.Name)), "names of the results");
        Assert.Multiple(() =>
        {
            foreach ((string name, RefTensor expected) in All.Where(x => x.Value.Length > 0))
            {
                bool isGradient = name.StartsWith("grad.", StringComparison.Ordinal);
                ErrorRatio.AssertClose(actual[name], expected.ToFloats(), isGradient ? gradientTolerance : tolerance, name);
            }
        });
    }

    private static RefTensor Find(Dictionary<string, RefTensor> from, string kind, string name) =>
        from.TryGetValue(name, out RefTensor? value)
            ? value
            : throw new KeyNotFoundException($"No {kind} '{name}'; there is: {string.Join(", ", from.Keys)}.");
}
