namespace Fla.Vulkan;

public sealed partial class Tensor
{
    private GradNode? _node;
    private int _nodeOutput;
    private GradLeaf? _leaf;

    /// <summary>True when gradients flow to this tensor: it was marked so, or came from an operation on such a tensor. Only leaves can be marked.</summary>
    /// <exception cref="AutogradException">The tensor came from a recorded operation, or holds integers.</exception>
    public bool RequiresGrad
    {
        get => _node != null || _leaf != null;
        set
        {
            if (_node != null) throw new AutogradException($"{Describe()} came from {_node.Name}: only leaves can be marked, detach it first");
            if (value && !DType.IsFloat()) throw new AutogradException($"{Describe()}: only float tensors have gradients");
            if (value) _leaf ??= new();
            else if (_leaf != null)
            {
                _leaf.Grad?.Dispose();
                _leaf = null;
            }
        }
    }

    /// <summary>The gradient that backward passes added up, null before the first. Setting it disposes the one before; the tensor owns it.</summary>
    public Tensor? Grad
    {
        get => _leaf?.Grad;
        set
        {
            if (_leaf == null) throw new AutogradException($"{Describe()} is no leaf that requires a gradient");
            if (value != null && value.Count != Count) throw new ShapeException($"a gradient {value.Describe()} does not fit {Describe()}");
            if (!ReferenceEquals(_leaf.Grad, value)) _leaf.Grad?.Dispose();
            _leaf.Grad = value?.Own();
        }
    }

    /// <summary>Adds the gradients of this scalar to those of the leaves it came from.</summary>
    public void Backward() => Autograd.Backward(this);

    internal GradEdge Edge => new(_node, _nodeOutput, _leaf);

    internal void AttachTo(GradNode node, int output)
    {
        ReleaseHistory();
        _node = node.Retain();
        _nodeOutput = output;
    }

    private void ReleaseHistory()
    {
        if (_node is { } node)
        {
            _node = null;
            GradNode.Release(node);
        }
        _leaf?.Grad?.Dispose();
        _leaf = null;
    }
}
