namespace Fla.Vulkan.Ops;

/// <summary>Blocks of columns moved between matrices, whatever their type (shaders/layout/columns.comp).</summary>
internal static class ColumnCopy
{
    private static readonly Kernel<Args> Kernel = new("layout/columns");

    private readonly record struct Args(In X, Out Y, uint Rows, uint Pieces, uint XStride, uint YStride, uint XStart, uint YStart, uint Unit);

    /// <summary>y[r, yStart + i] = x[r, xStart + i] for i below <paramref name="width"/>; zeros when x is null. The last axis is the columns.</summary>
    public static void Run(Tensor? x, int xStart, Tensor y, int yStart, int width)
    {
        var rows = RowLayout.RowCount(y);
        if (rows == 0 || width == 0) return;
        var size = (ulong)y.DType.Size();
        ulong xStride = (ulong)(x?.Size(-1) ?? 0) * size, yStride = (ulong)y.Size(-1) * size;
        ulong xFirst = x is null ? 0 : (ulong)xStart * size, yFirst = (ulong)yStart * size, bytes = (ulong)width * size;
        var unit = RowCopy.Unit(bytes | xStride | yStride | xFirst | yFirst, x?.Address ?? 0, y.Address);
        uint Pieces(ulong count) => checked((uint)(count / unit));
        Kernel.Launch(y.Device, new(x, y, RowLayout.Index(rows, y), Pieces(bytes), Pieces(xStride), Pieces(yStride), Pieces(xFirst), Pieces(yFirst), unit),
            Grid.Over(rows * Pieces(bytes), RowLayout.Workgroup), null, RowLayout.Workgroup);
    }
}
