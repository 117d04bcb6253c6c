using Fla.Testing;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Delta;

/// <summary>A case of the delta family that fla computed: its inputs as leaves, and the comparison with o, the final state and the gradients of (o · do).</summary>
internal sealed class GoldenDelta(ComputeDevice device, string name) : IDisposable
{
    private readonly GoldenFile _golden = Golden.Open($"ops/{name}.safetensors");
    private readonly Dictionary<string, Tensor> _leaves = [];

    /// <summary>An input of the file on the device.</summary>
    public Tensor this[string input]
    {
        get
        {
            if (!_leaves.TryGetValue(input, out var leaf))
            {
                leaf = Tensor.From(device, _golden["in." + input], _golden.Shape("in." + input));
                leaf.RequiresGrad = true;
                _leaves.Add(input, leaf);
            }
            return leaf;
        }
    }

    /// <summary>Compares what an op made of the inputs, and the gradients of all of them.</summary>
    public void Check((Tensor O, Tensor? FinalState) actual)
    {
        ErrorRatio.AssertClose(actual.O.ToSingle(), _golden["o"], 1e-4, "o");
        ErrorRatio.AssertClose(actual.FinalState!.ToSingle(), _golden["ht"], 1e-4, "ht");
        Assert.That(_leaves.Keys, Is.EquivalentTo(_golden.GradientNames));
        Autograd.Backward(actual.O, Tensor.From(device, _golden["do"], _golden.Shape("do")));
        foreach (var (input, leaf) in _leaves)
        {
            ErrorRatio.AssertClose(leaf.Grad!.ToSingle(), _golden.Gradient(input), 1e-3, "grad." + input);
            leaf.Grad.Dispose();
        }
    }

    public void Dispose() => _golden.Dispose();
}
