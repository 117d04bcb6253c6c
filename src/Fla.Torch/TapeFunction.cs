using TorchSharp;
using static TorchSharp.torch;

namespace Fla.Torch;

/// <summary>
/// The one node type in PyTorch's graph. The work was done before it is applied, because TorchSharp leaks a node whose forward throws; and
/// nothing may be thrown out of backward, which native code calls: the process would end.
/// </summary>
internal sealed class TapeFunction : autograd.MultiTensorFunction<TapeFunction>
{
    private const string Call = "call";
    private const string Ranks = "ranks";

    /// <inheritdoc/>
    public override string Name => "fla";

    /// <summary>Takes the inputs, the parameters, and last the call with its results.</summary>
    public override List<Tensor> forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var state = (TorchCall.TapeState)vars[^1];
        var tensors = vars[..^1].Cast<Tensor?>().ToList();
        ctx.set_materialize_grads(false);
        ctx.save_for_backward(tensors!);
        ctx.mark_non_differentiable(state.NonDifferentiable);
        ctx.save_data(Call, state.Call);
        ctx.save_data(Ranks, tensors.Select((t, i) => state.Call.Needs[i] ? t?.ndim : null).ToArray());
        return [.. state.Outputs];
    }

    /// <inheritdoc/>
    public override List<Tensor> backward(autograd.AutogradContext ctx, List<Tensor> grad_outputs)
    {
        var call = (TorchCall)ctx.get_data(Call);
        Leftovers.Dispose();
        Tensor?[] gradients;
        try
        {
            gradients = call.Backward(grad_outputs, ctx.get_saved_variables);
            if (torch.is_grad_enabled()) gradients = OnceDifferentiable.Mark(call.Name, gradients);
        }
#pragma warning disable CA1031 // Whatever it is, it must not reach native code.
        catch (Exception e)
#pragma warning restore CA1031
        {
            gradients = Refuse(call.Name, e, (long?[])ctx.get_data(Ranks));
        }
        foreach (var gradient in grad_outputs)
        {
            if (!gradient.IsInvalid) gradient.Dispose();
        }
        // PyTorch takes its own references when this returns, and only then these can go.
        Leftovers.Add(gradients);
        var results = gradients.ToList();
        results.Add(null);
        return results!;
    }

    /// <summary>Gradients that PyTorch refuses (of too few axes, or on another device), which makes the backward pass fail; why it did is kept and said.</summary>
    internal static Tensor?[] Refuse(string name, Exception e, long?[] ranks)
    {
        TorchBackward.LastError = e;
        Console.Error.WriteLine($"fla: the backward pass of {name} failed: {e.Message.Split('\n')[0]}");
        return Array.ConvertAll(ranks, rank => rank is null ? null : torch.empty(Array.Empty<long>(), device: rank > 0 ? torch.CPU : torch.META));
    }
}

/// <summary>Gradients that were handed to PyTorch and wait for the next call on their thread to be disposed, unless a dispose scope did it.</summary>
internal static class Leftovers
{
    [ThreadStatic]
    private static List<Tensor>? _tensors;

    public static void Add(IEnumerable<Tensor?> tensors) => (_tensors ??= []).AddRange(tensors.OfType<Tensor>());

    public static void Dispose()
    {
        if (_tensors is not { } tensors) return;
        foreach (var tensor in tensors)
        {
            if (!tensor.IsInvalid) tensor.Dispose();
        }
        tensors.Clear();
    }
}
