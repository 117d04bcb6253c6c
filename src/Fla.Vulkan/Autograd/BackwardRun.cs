namespace Fla.Vulkan;

/// <summary>One walk down the tape: gradients waiting at nodes, newest node first.</summary>
internal sealed class BackwardRun : IDisposable
{
    [ThreadStatic]
    private static BackwardRun? _current;

    private readonly BackwardRun? _outer = _current;
    private readonly Dictionary<GradNode, Tensor?[]> _waiting = [];
    private readonly PriorityQueue<GradNode, long> _order = new();
    private readonly Dictionary<GradLeaf, Tensor?>? _wanted;

    /// <summary>A run on this thread, until it is disposed.</summary>
    /// <param name="wanted">Leaves whose gradients go here; null for those of the run that this one is inside of (a checkpoint's).</param>
    public BackwardRun(Dictionary<GradLeaf, Tensor?>? wanted = null)
    {
        _wanted = wanted ?? _current?._wanted;
        _current = this;
    }

    /// <summary>Adds a gradient to what waits at an edge; takes the handle over.</summary>
    public void Add(GradEdge edge, Tensor gradient)
    {
        if (edge.Leaf is { } leaf) AddToLeaf(leaf, gradient);
        else if (edge.Node is { } node)
        {
            if (!_waiting.TryGetValue(node, out var slots))
            {
                _waiting.Add(node, slots = new Tensor?[node.Outputs.Length]);
                _order.Enqueue(node, -node.Sequence);
            }
            slots[edge.Output] = slots[edge.Output] is { } before ? Sum(before, gradient) : gradient.Own();
        }
    }

    public void Walk()
    {
        while (_order.TryDequeue(out var node, out _))
        {
            var gradients = _waiting[node];
            if (node.IsReleased) throw new AutogradException($"the history of {node.Name} was used by an earlier backward pass and is gone");
            for (var i = 0; i < node.Saved.Length; i++)
            {
                if (node.Saved[i] is { } saved && saved.Storage.Version != node.SavedVersions[i])
                {
                    throw new AutogradException($"{saved.Describe()}, saved for the backward of {node.Name}, was overwritten since");
                }
            }
            var results = Run(node, gradients);
            node.FreeSaved();
            _waiting.Remove(node);
            foreach (var gradient in gradients) gradient?.Dispose();
            FiniteWatch.Current?.Flowed(node, results);
            for (var i = 0; i < results.Length; i++)
            {
                if (results[i] is { } gradient) Add(node.Inputs[i], gradient);
            }
        }
    }

    /// <summary>Lets go of the gradients that a failed walk left waiting.</summary>
    public void Dispose()
    {
        _current = _outer;
        foreach (var gradient in _waiting.Values.SelectMany(slots => slots)) gradient?.Dispose();
        _waiting.Clear();
    }

    /// <summary>The gradients of a node's inputs as handles of their own; null where none is needed.</summary>
    private static Tensor?[] Run(GradNode node, Tensor?[] gradients)
    {
        using var scope = new TensorScope();
        var results = node.Backward(new(node), gradients);
        if (results.Length != node.Inputs.Length) throw new AutogradException($"the backward of {node.Name} returned {results.Length} gradients for {node.Inputs.Length} inputs");
        var own = new Tensor?[results.Length];
        for (var i = 0; i < results.Length; i++)
        {
            if (results[i] is not { } gradient || !node.Inputs[i].IsNeeded) continue;
            var isTaken = gradients.Contains(gradient) || node.Saved.Contains(gradient) || own.Contains(gradient);
            own[i] = (isTaken ? gradient.Detach() : gradient).Own();
        }
        return own;
    }

    private void AddToLeaf(GradLeaf leaf, Tensor gradient)
    {
        if (_wanted != null && _wanted.TryGetValue(leaf, out var before)) _wanted[leaf] = before is null ? gradient.Own() : Sum(before, gradient);
        else if (leaf.Grad is { } sum)
        {
            sum.Accumulate(gradient);
            gradient.Dispose();
        }
        else leaf.Grad = Exclusive(gradient).Own();
    }

    /// <summary>The sum of two gradients, in the wider of their types; in the place of the first where nobody else sees it.</summary>
    private static Tensor Sum(Tensor a, Tensor b)
    {
        using var added = b;
        var type = a.DType == b.DType ? a.DType : DType.Float32;
        if (a.DType == type && !a.Storage.IsShared)
        {
            a.Accumulate(b);
            return a;
        }
        using var first = a;
        var sum = Tensor.EmptyLike(a, type);
        sum.CopyFrom(a);
        sum.Accumulate(b);
        return sum.Own();
    }

    /// <summary>A leaf's gradient is added to in place later, so it may share its memory with no one.</summary>
    private static Tensor Exclusive(Tensor gradient)
    {
        if (gradient.Storage.IsShared)
        {
            using (gradient) return gradient.Clone();
        }
        return gradient;
    }
}
