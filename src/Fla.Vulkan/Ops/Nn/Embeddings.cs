namespace Fla.Vulkan.Ops;

/// <summary>Rows of a table by index (shaders/embedding).</summary>
public static class Embeddings
{
    private const int EntriesPerWorkgroup = 16;

    private static readonly Kernel<ForwardArgs> Forward = new("embedding/lookup");
    private static readonly Kernel<BackwardArgs> BackwardKernel = new("embedding/lookup_backward");

    private readonly record struct ForwardArgs(In Table, In Index, Out Y, uint Rows, uint Entries, uint Width, uint IndexType, uint Wide, float Scale);

    private readonly record struct BackwardArgs(In DY, In Index, Out DTable, uint Rows, uint Entries, uint Width, uint IndexType, uint TableType, float Scale);

    private sealed record Saved(int Entries, int Width, DType Type, float Scale);

    /// <summary>scale · weight[id] for every id. An id outside the table, which only the device sees, gives zeros and gets no gradient.</summary>
    /// <param name="weight">The table [V, D].</param>
    /// <param name="ids">Token ids, i32 or i64 [...].</param>
    /// <param name="scale">Factor, such as √D.</param>
    /// <returns>[..., D] in the table's type.</returns>
    /// <exception cref="ShapeException">The table has not two axes.</exception>
    /// <exception cref="DTypeException">The table holds integers or the ids do not.</exception>
    public static Tensor Lookup(Tensor weight, Tensor ids, float scale = 1)
    {
        Require.SameDevice(weight, ids);
        Require.Rank(weight, 2, nameof(weight));
        Require.Float(weight, nameof(weight));
        int entries = weight.Size(0), width = weight.Size(1);
        var y = Rows(weight, ids, [.. ids.Shape, width], scale);
        if (Autograd.IsRecording(weight))
        {
            Autograd.Record("embedding", [weight], [y], [ids], Backward, new Saved(entries, width, weight.DType, scale));
        }
        return y;
    }

    /// <summary>As the other form, with ids from the host.</summary>
    /// <param name="weight">The table [V, D].</param>
    /// <param name="ids">Token ids.</param>
    /// <param name="shape">Their shape.</param>
    /// <param name="scale">Factor.</param>
    /// <exception cref="ArgumentOutOfRangeException">An id is not in [0, V).</exception>
    public static Tensor Lookup(Tensor weight, ReadOnlySpan<int> ids, ReadOnlySpan<int> shape, float scale = 1)
    {
        Require.Rank(weight, 2, nameof(weight));
        foreach (var id in ids)
        {
            if (id < 0 || id >= weight.Size(0)) throw new ArgumentOutOfRangeException(nameof(ids), id, $"token ids lie in [0, {weight.Size(0)})");
        }
        using var onDevice = Tensor.FromInt32(weight.Device, ids, shape);
        return Lookup(weight, onDevice, scale);
    }

    /// <summary>Rows of a matrix [entries, width] by index, zeros for an index outside; not recorded.</summary>
    internal static Tensor Rows(Tensor table, Tensor index, ReadOnlySpan<int> shape, float scale = 1)
    {
        if (index.DType is not (DType.Int32 or DType.Int64)) throw new DTypeException($"indices are i32 or i64, these are {index.Describe()}");
        var width = table.Size(-1);
        var y = Tensor.Empty(table.Device, table.DType, shape);
        var pieces = (width + 3) / 4;
        Forward.Launch(table.Device, new(table, index, y, RowLayout.Index(index.Count, index), RowLayout.Index(RowLayout.RowCount(table), table), (uint)width, RowLayout.TypeCode(index),
            RowLayout.Wide(width, table, y), scale), Grid.Over(index.Count * pieces, RowLayout.Workgroup), table.DType.Variant(), RowLayout.Workgroup);
        return y;
    }

    private static Tensor?[] Backward(BackwardContext ctx, Tensor?[] dy)
    {
        if (dy[0] is not { } given) return [null];
        var (entries, width, type, scale) = ctx.State<Saved>();
        var ids = ctx.Saved(0)!;
        var dtable = Tensor.Empty(ids.Device, type, entries, width);
        long groups = (entries + EntriesPerWorkgroup - 1) / EntriesPerWorkgroup, columns = (width + RowLayout.Workgroup - 1) / RowLayout.Workgroup;
        BackwardKernel.Launch(ids.Device, new(given, ids, dtable, RowLayout.Index(ids.Count, ids), (uint)entries, (uint)width, RowLayout.TypeCode(ids), RowLayout.TypeCode(dtable), scale),
            Grid.Linear(groups * columns), given.DType.Variant(), RowLayout.Workgroup);
        return [dtable];
    }
}
