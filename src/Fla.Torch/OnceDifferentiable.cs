using Fla.Vulkan;
using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch;

/// <summary>A second derivative of one of this library's operators was asked for: there is none.</summary>
public sealed class SecondDerivativeException(string name)
    : FlaException($"{name} has no second derivative: its gradients were made with create_graph: true, and a backward pass went through them");

/// <summary>
/// Marks gradients that were made with create_graph. PyTorch would take them for constants and give wrong second derivatives without a word; through this node
/// they have a history, whose backward pass fails.
/// </summary>
internal sealed class OnceDifferentiable : autograd.MultiTensorFunction<OnceDifferentiable>
{
    private const string Operator = "operator";
    private const string Ranks = "ranks";

    /// <inheritdoc/>
    public override string Name => "fla once differentiable";

    /// <summary>Fresh gradients with that history; the given ones are used up.</summary>
    public static Tensor?[] Mark(string name, Tensor?[] gradients)
    {
        var leaves = gradients.OfType<Tensor>().Select(gradient => gradient.requires_grad_(true)).ToList();
        if (leaves.Count == 0) return gradients;
        var marked = new Queue<Tensor>(apply([.. leaves, name]));
        foreach (var leaf in leaves) leaf.Dispose();
        return Array.ConvertAll(gradients, gradient => gradient is null ? null : marked.Dequeue());
    }

    /// <inheritdoc/>
    public override List<Tensor> forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var tensors = vars[..^1].Cast<Tensor>().ToList();
        ctx.save_data(Operator, vars[^1]);
        ctx.save_data(Ranks, tensors.Select(t => (long?)t.ndim).ToArray());
        return tensors.ConvertAll(t => t.alias());
    }

    /// <inheritdoc/>
    public override List<Tensor> backward(autograd.AutogradContext ctx, List<Tensor> grad_outputs)
    {
        var name = (string)ctx.get_data(Operator);
        var refused = TapeFunction.Refuse(name, new SecondDerivativeException(name), (long?[])ctx.get_data(Ranks));
        Leftovers.Add(refused);
        var results = refused.ToList();
        results.Add(null);
        return results!;
    }
}
