namespace Fla.Vulkan;

/// <summary>Where a gradient goes: an output of a node, or a leaf.</summary>
internal readonly record struct GradEdge(GradNode? Node, int Output, GradLeaf? Leaf)
{
    public bool IsNeeded => Node != null || Leaf != null;
}

/// <summary>The gradient of a tensor that no recorded operation made.</summary>
internal sealed class GradLeaf
{
    public Tensor? Grad { get; set; }
}

/// <summary>What a backward function sees of its forward call.</summary>
public sealed class BackwardContext
{
    private readonly GradNode _node;

    internal BackwardContext(GradNode node) => _node = node;

    /// <summary>A saved tensor, null when null was saved.</summary>
    public Tensor? Saved(int index) => _node.Saved[index];

    /// <summary>True when the gradient of input <paramref name="index"/> is wanted.</summary>
    public bool Needs(int index) => _node.Inputs[index].IsNeeded;

    /// <summary>The scalars that were recorded.</summary>
    public T State<T>() => (T)_node.State!;
}

/// <summary>
/// One recorded operation. Kept alive by the tensors it made and by the nodes that used them; when the last of these is gone, so are its saved tensors.
/// </summary>
internal sealed class GradNode
{
    private static long _sequence;
    private int _references;

    public required string Name { get; init; }

    public required GradEdge[] Inputs { get; init; }

    public required Tensor?[] Saved { get; init; }

    public required int[] SavedVersions { get; init; }

    public required (DType Type, int[] Shape)[] Outputs { get; init; }

    public required Func<BackwardContext, Tensor?[], Tensor?[]> Backward { get; init; }

    public object? State { get; init; }

    /// <summary>Later nodes have greater numbers: going down in them is a topological order.</summary>
    public long Sequence { get; } = Interlocked.Increment(ref _sequence);

    public bool IsReleased { get; private set; }

    public GradNode Retain()
    {
        Interlocked.Increment(ref _references);
        return this;
    }

    /// <summary>Lets go of a reference; with the last one the node gives up what it saved, and its own references in turn, without recursion.</summary>
    public static void Release(GradNode node)
    {
        var pending = new Stack<GradNode>([node]);
        while (pending.TryPop(out var next))
        {
            if (Interlocked.Decrement(ref next._references) > 0) continue;
            next.FreeSaved();
            foreach (var edge in next.Inputs)
            {
                if (edge.Node is { } parent) pending.Push(parent);
            }
        }
    }

    public void FreeSaved()
    {
        IsReleased = true;
        foreach (var tensor in Saved) tensor?.Dispose();
    }
}
