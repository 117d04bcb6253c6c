namespace Fla.Vulkan.Ops;

/// <summary>Rows moved by an index table, whatever their type (shaders/layout/rows.comp).</summary>
internal static class RowCopy
{
    private static readonly Kernel<Args> Kernel = new("layout/rows");

    private readonly record struct Args(In X, In Index, Out Y, uint Rows, uint Entries, uint Pieces, uint Unit, uint IndexType, uint Repeat, uint Scatter);

    /// <summary>y[r] = x[index[r]]; zeros where the index is outside of x.</summary>
    /// <param name="x">[entries, ...].</param>
    /// <param name="index">i32 or i64, any shape of as many elements as y has rows.</param>
    /// <param name="y">Written: rows of x's size and type.</param>
    /// <param name="width">Elements of a row.</param>
    public static void Gather(Tensor x, Tensor index, Tensor y, long width) => Run(x, index, y, index.Count, Rows(x, width), width, 1, false);

    /// <summary>y[index[r]] = x[r]; rows whose index is outside of y are dropped, indices must differ.</summary>
    public static void Scatter(Tensor x, Tensor index, Tensor y, long width) => Run(x, index, y, index.Count, Rows(y, width), width, 1, true);

    /// <summary>y[r] = x[r / repeat].</summary>
    public static void Repeat(Tensor x, Tensor y, long width, int repeat) => Run(x, null, y, Rows(y, width), Rows(x, width), width, repeat, false);

    /// <exception cref="DTypeException">The tensor is no index table.</exception>
    public static void RequireIndex(Tensor index, string name)
    {
        if (index.DType is not (DType.Int32 or DType.Int64)) throw new DTypeException($"{name} needs i32 or i64, it is {index.Describe()}");
    }

    /// <summary>The widest copy that divides a number of bytes and the addresses: 16, 8, 4 or 2.</summary>
    public static uint Unit(ulong bytes, ulong x, ulong y)
    {
        var all = bytes | x | y | 16;
        return (uint)(all & (~all + 1));
    }

    private static long Rows(Tensor x, long width) => width == 0 ? 0 : x.Count / width;

    private static void Run(Tensor x, Tensor? index, Tensor y, long rows, long entries, long width, int repeat, bool scatter)
    {
        var bytes = (ulong)(width * x.DType.Size());
        if (bytes == 0 || rows == 0) return;
        var unit = Unit(bytes, x.Address, y.Address);
        var pieces = checked((uint)(bytes / unit));
        Kernel.Launch(x.Device, new(x, index, y, RowLayout.Index(rows, y), RowLayout.Index(entries, x), pieces, unit, RowLayout.TypeCode(index), (uint)repeat, scatter ? 1u : 0u),
            Grid.Over(rows * pieces, RowLayout.Workgroup), null, RowLayout.Workgroup);
    }
}
