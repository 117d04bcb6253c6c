namespace Fla.Vulkan.Ops;

/// <summary>
/// The gradient of a table from which rows were taken: rows that took the same entry are added up, in fp32 and in a fixed order, without atomics on floats
/// (shaders/embedding/). Everything is on the device, so it can be captured.
/// </summary>
internal static class IndexedSum
{
    private const int EntriesPerSort = 16;
    private const int EntriesPerSum = 8;
    private const int ColumnsPerSum = 128;

    private static readonly Kernel<SortArgs> Sort = new("embedding/sort");
    private static readonly Kernel<SumArgs> Sum = new("embedding/sum");

    private readonly record struct SortArgs(In Index, Out Start, Out Order, uint Rows, uint Entries, uint IndexType, int Skip);

    private readonly record struct SumArgs(In Dy, In Start, In Order, Out Table, uint Entries, uint Width, uint Type, uint TableType, uint Wide);

    /// <summary>table[e] = Σ dy[r] over the rows with index[r] = e: [entries, width]. Indices outside the table count for nothing.</summary>
    /// <param name="dy">Rows of <paramref name="width"/> elements.</param>
    /// <param name="index">i32 or i64, one a row.</param>
    /// <param name="type">Type of the table.</param>
    /// <param name="entries">Entries of the table.</param>
    /// <param name="width">Elements of an entry.</param>
    /// <param name="skip">An entry that gets zeros; -1 for none.</param>
    public static Tensor Run(Tensor dy, Tensor index, DType type, int entries, int width, int skip = -1)
    {
        var table = Tensor.Empty(dy.Device, type, entries, width);
        if (table.Count == 0) return table;
        var rows = RowLayout.Index(index.Count, index);
        using var start = Tensor.Empty(dy.Device, DType.Int32, entries + 1);
        using var order = Tensor.Empty(dy.Device, DType.Int32, Math.Max(1, (int)rows));
        Sort.Launch(dy.Device, new(index, start, order, rows, (uint)entries, RowLayout.TypeCode(index), skip),
            Grid.Over(entries, EntriesPerSort), null, RowLayout.Workgroup);
        var columnGroups = (width + ColumnsPerSum - 1) / ColumnsPerSum;
        Sum.Launch(dy.Device, new(dy, start, order, table, (uint)entries, (uint)width, RowLayout.TypeCode(dy), RowLayout.TypeCode(table), RowLayout.Wide(width, dy, table)),
            Grid.Linear((long)((entries + EntriesPerSum - 1) / EntriesPerSum) * columnGroups), null, RowLayout.Workgroup);
        return table;
    }
}
