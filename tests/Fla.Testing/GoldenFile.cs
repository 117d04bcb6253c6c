using Fla.Models.Checkpoints;

namespace Fla.Testing;

/// <summary>One safetensors file of a reference case: arrays by name.</summary>
public sealed class GoldenFile : IDisposable
{
    private const string GradPrefix = "grad.";
    private const string ScalePrefix = "grad_scale.";

    internal GoldenFile(SafetensorsFile source) => Source = source;

    /// <summary>The file itself.</summary>
    public SafetensorsFile Source { get; }

    /// <summary>Names of all arrays.</summary>
    public IEnumerable<string> Names => Source.Tensors.Keys;

    /// <summary>The values of a floating-point array, row-major.</summary>
    public float[] this[string name] => Source.ReadSingle(name);

    /// <summary>Whether there is an array of this name.</summary>
    public bool Contains(string name) => Source.Contains(name);

    /// <summary>Sizes of the axes of an array.</summary>
    public int[] Shape(string name) => [.. Source.Info(name).Shape.Select(size => checked((int)size))];

    /// <summary>The values of an integer array, row-major.</summary>
    public int[] Integers(string name) => Source.ReadInt32(name);

    /// <summary>Names of the parameters (or inputs) whose gradients the file has.</summary>
    public IEnumerable<string> GradientNames
        => Names.Where(name => name.StartsWith(GradPrefix, StringComparison.Ordinal)).Select(name => name[GradPrefix.Length..]);

    /// <summary>Gradient of a parameter or input: <c>grad.P</c>, times <c>grad_scale.P</c> where the file has one.</summary>
    public float[] Gradient(string name)
    {
        var values = Source.ReadSingle(GradPrefix + name);
        if (!Contains(ScalePrefix + name))
        {
            return values;
        }

        var scale = Source.ReadSingle(ScalePrefix + name)[0];
        return Array.ConvertAll(values, value => value * scale);
    }

    /// <inheritdoc/>
    public void Dispose() => Source.Dispose();
}
