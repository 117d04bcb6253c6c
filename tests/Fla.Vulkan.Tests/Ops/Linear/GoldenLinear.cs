using Fla.Testing;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Linear;

/// <summary>Compares an op with the case that fla computed: o, final state and gradients of (o · do).</summary>
internal static class GoldenLinear
{
    /// <param name="device">Where.</param>
    /// <param name="name">File under tests/golden/ops.</param>
    /// <param name="gates">Names of the gates in the file.</param>
    /// <param name="op">From (q, k, v, gates) to (o, final state).</param>
    /// <param name="stateHeads">Heads whose final state the reference computed rightly; all by default, none for 0.</param>
    /// <param name="keeps">Which (batch, head) to compare.</param>
    public static void Check(ComputeDevice device, string name, string[] gates, Func<Tensor, Tensor, Tensor, Tensor[], (Tensor O, Tensor? FinalState)> op,
        int? stateHeads = null, Func<int, int, bool>? keeps = null)
    {
        using var golden = Golden.Open($"ops/{name}.safetensors");
        Tensor Leaf(string input)
        {
            var leaf = Tensor.From(device, golden["in." + input], golden.Shape("in." + input));
            leaf.RequiresGrad = true;
            return leaf;
        }

        string[] inputs = ["q", "k", "v", .. gates];
        var leaves = inputs.Select(Leaf).ToArray();
        var (o, ht) = op(leaves[0], leaves[1], leaves[2], leaves[3..]);
        Compare("o", o, golden["o"], 1e-4, 1, keeps);
        if (golden.Contains("ht") && stateHeads != 0)
        {
            Compare("ht", ht!, golden["ht"], 1e-4, 0, (_, head) => head < (stateHeads ?? int.MaxValue));
        }
        Autograd.Backward(o, Tensor.From(device, golden["do"], golden.Shape("do")));
        for (var i = 0; i < leaves.Length; i++)
        {
            Compare("grad." + inputs[i], leaves[i].Grad!, golden.Gradient(inputs[i]), 1e-3, 1, keeps);
            leaves[i].Grad!.Dispose();
        }
    }

    /// <summary>Compares what <paramref name="keeps"/> names; heads stand behind <paramref name="before"/> axes after the batch.</summary>
    private static void Compare(string name, Tensor actual, float[] expected, double tolerance, int before, Func<int, int, bool>? keeps)
    {
        var shape = actual.Shape.ToArray();
        int heads = shape[1 + before], width = shape[(2 + before)..].Aggregate(1, (a, b) => a * b), times = before == 0 ? 1 : shape[1];
        Assert.That(actual.Count, Is.EqualTo(expected.Length), name);
        float[] Select(float[] x) => [.. x.Where((_, i) => keeps is null || keeps(i / width / heads / times, i / width % heads))];
        ErrorRatio.AssertClose(Select(actual.ToSingle()), Select(expected), tolerance, name);
    }
}
