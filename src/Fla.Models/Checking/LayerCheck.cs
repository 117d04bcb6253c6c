using Fla.Layers;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Models.Checking;

/// <summary>Runs a layer against its reference case: o, and the gradients of Σ o·do.</summary>
internal sealed class LayerCheck(TokenMixer layer, ReferenceCase reference, CheckOptions options, CheckRows rows)
{
    private const string Input = "hidden_states";

    public void Run()
    {
        if (!reference.Has(Input)) throw new CheckException("expected.safetensors holds no hidden_states");
        var tolerances = Tolerances.For(options.DType);
        using var scope = layer.Device.Scope();
        using var grad = Autograd.EnableGrad();
        var x = Tensor.From(layer.Device, reference.Values(Input), reference.Shape(Input), options.DType);
        x.RequiresGrad = true;
        var o = layer.Forward(x, new() { Mode = options.Mode });
        if (reference.Has("o")) rows.Compare("o", o.ToSingle(), reference.Values("o"), tolerances.Forward);
        if (!reference.Gradients.Any()) return;
        if (!reference.Has("do")) throw new CheckException("the gradients come without do");
        var upstream = Tensor.From(layer.Device, reference.Values("do"), o.Shape, options.DType);
        Autograd.Backward(o, upstream);
        var leaves = layer.StateDict().Append(new(Input, x)).ToDictionary(entry => entry.Key, entry => entry.Value, StringComparer.Ordinal);
        foreach (var name in reference.Gradients)
        {
            if (!leaves.TryGetValue(name, out var leaf)) throw new CheckException($"the file holds a gradient of {name}, which the layer has not");
            rows.Compare($"grad.{name}", leaf.Grad?.ToSingle() ?? new float[leaf.Count], reference.Gradient(name),
                reference.IsExact(name) ? tolerances.ExactGradient : tolerances.Gradient);
        }
        layer.ClearGradients();
    }
}
