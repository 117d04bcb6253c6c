namespace Fla.Vulkan.Ops;

/// <summary>Exchange of axes. Any element type; gradients flow through float ones.</summary>
public static class Transposes
{
    private const int Tile = 32;

    private static readonly Kernel<Args> Kernel = new("layout/transpose");

    private readonly record struct Args(In X, Out Y, uint Count, uint Rows, uint Columns, uint Unit);

    /// <summary>Exchanges the last two axes: [..., K, V] to [..., V, K].</summary>
    /// <exception cref="ShapeException">x has less than two axes.</exception>
    public static Tensor LastTwo(Tensor x)
    {
        Require.That(x.Rank >= 2, $"the last two axes of {x.Describe()} cannot be exchanged");
        var y = Run(x);
        if (Autograd.IsRecording(x)) Autograd.Record("transpose", [x], [y], [], static (_, dy) => [dy[0] is { } d ? Run(d) : null]);
        return y;
    }

    private static Tensor Run(Tensor x)
    {
        int rows = x.Size(-2), columns = x.Size(-1);
        var y = Tensor.Empty(x.Device, x.DType, [.. x.Shape[..^2], columns, rows]);
        if (x.Count == 0) return y;
        var count = x.Count / ((long)rows * columns);
        long down = (rows + Tile - 1) / Tile, across = (columns + Tile - 1) / Tile;
        Kernel.Launch(x.Device, new(x, y, RowLayout.Index(count, x), (uint)rows, (uint)columns, (uint)x.DType.Size()),
            Grid.Linear(count * down * across), null, RowLayout.Workgroup);
        return y;
    }
}
