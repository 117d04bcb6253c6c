using System.Globalization;
using Fla.Vulkan.Ops;

namespace Fla.Vulkan;

/// <summary>
/// Finds where numbers stop being finite: while it is open on a thread, every result of a recorded operation, and then every gradient, is looked at as soon
/// as it is there, and the first with a NaN or an infinity is named. For one pass after a failure: each look waits for the device.
/// </summary>
public sealed class FiniteWatch : IDisposable
{
    [ThreadStatic]
    private static FiniteWatch? _current;

    private readonly FiniteWatch? _outer = _current;
    private readonly Dictionary<GradLeaf, string> _names = [];
    private readonly Dictionary<GradNode, string> _labels = [];
    private string? _last;

    /// <summary>Opens a watch on this thread.</summary>
    /// <param name="parameters">Parameters with their names, by which operations are named too.</param>
    public FiniteWatch(IEnumerable<KeyValuePair<string, Tensor>> parameters)
    {
        foreach (var (name, parameter) in parameters)
        {
            if (parameter.Edge.Leaf is { } leaf) _names[leaf] = name;
        }
        _current = this;
    }

    /// <summary>The first tensor that was not finite, with the place and value of its first such element; null so far.</summary>
    public string? First { get; private set; }

    internal static FiniteWatch? Current => _current;

    /// <summary>Looks at a tensor, unless a first one was found already.</summary>
    /// <param name="name">What to call it.</param>
    /// <param name="tensor">Integers are always finite.</param>
    public void Look(string name, Tensor tensor)
    {
        if (First != null || !tensor.DType.IsFloat() || tensor.Count == 0) return;
        using var noGrad = Autograd.NoGrad();
        using var scope = new TensorScope();
        if (Reductions.CountNonFinite(tensor).Item() == 0) return;
        var values = tensor.ToSingle();
        var at = Array.FindIndex(values, value => !float.IsFinite(value));
        First = string.Create(CultureInfo.InvariantCulture,
            $"{name}, {tensor.Describe()}: {values[at]} at element {at}, {values.Count(value => !float.IsFinite(value))} of {values.Length} not finite");
    }

    /// <inheritdoc/>
    public void Dispose() => _current = _outer;

    internal void Made(GradNode node, ReadOnlySpan<Tensor> outputs)
    {
        var named = node.Inputs.Select(input => input.Leaf is { } leaf ? _names.GetValueOrDefault(leaf) : null).FirstOrDefault(name => name != null);
        _last = named ?? _last;
        _labels[node] = named != null ? $"{node.Name} of {named}" : _last != null ? $"{node.Name} after {_last}" : node.Name;
        foreach (var output in outputs) Look($"the output of {_labels[node]}", output);
    }

    internal void Flowed(GradNode node, Tensor?[] gradients)
    {
        for (var i = 0; i < gradients.Length && First == null; i++)
        {
            if (gradients[i] is not { } gradient) continue;
            var parameter = node.Inputs[i].Leaf is { } leaf ? _names.GetValueOrDefault(leaf) : null;
            Look(parameter != null ? $"the gradient of {parameter}" : $"the gradient of input {i} of {_labels.GetValueOrDefault(node, node.Name)}", gradient);
        }
    }
}
