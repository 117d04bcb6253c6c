namespace Fla.Vulkan.Ops;

/// <summary>Copies that put elements elsewhere (shaders/layout): parts side by side, slices, repeated heads.</summary>
public static class Layouts
{
    private static readonly Kernel<Args> BlockKernel = new("layout/blocks");

    private readonly record struct Args(In X, Out Y, uint Rows, uint Width, uint Copies, uint XStride, uint YStride, uint XStart, uint YStart, uint Wide);

    /// <summary>Tensors side by side along an axis.</summary>
    /// <param name="axis">The axis; negative ones count from the end.</param>
    /// <param name="parts">Tensors of one float type whose shapes differ at most there.</param>
    /// <exception cref="ShapeException">No parts, or shapes that do not fit.</exception>
    /// <exception cref="DTypeException">Types differ or are integers.</exception>
    public static Tensor Concat(int axis, params Tensor[] parts)
    {
        Require.That(parts.Length > 0, "there is nothing to put side by side");
        Require.SameDevice(parts);
        var first = parts[0];
        Require.Float(first, "parts[0]");
        axis = AxisOf(first, axis);
        var shape = first.Shape.ToArray();
        shape[axis] = 0;
        foreach (var part in parts)
        {
            Require.Type(part, first.DType, "each part");
            int[] expected = [.. first.Shape];
            if (part.Rank == first.Rank) expected[axis] = part.Size(axis);
            Require.Shape(part, "each part", expected);
            shape[axis] = checked(shape[axis] + part.Size(axis));
        }
        var y = Tensor.Empty(first.Device, first.DType, shape);
        var start = 0;
        foreach (var part in parts)
        {
            Copy(part, y, axis, 0, start, part.Size(axis));
            start += part.Size(axis);
        }
        if (Autograd.IsRecording(parts))
        {
            Autograd.Record("concat", parts, [y], [], static (ctx, dy) =>
            {
                var (axis, sizes) = ctx.State<(int, int[])>();
                var start = 0;
                var results = new Tensor?[sizes.Length];
                for (var i = 0; i < sizes.Length; start += sizes[i], i++)
                {
                    if (dy[0] is { } given && ctx.Needs(i)) results[i] = Slice(given, axis, start, sizes[i]);
                }
                return results;
            }, (axis, Array.ConvertAll(parts, p => p.Size(axis))));
        }
        return y;
    }

    /// <summary>A copy of <paramref name="length"/> places of an axis from <paramref name="start"/> on.</summary>
    /// <param name="x">Any float tensor.</param>
    /// <param name="axis">The axis; negative ones count from the end.</param>
    /// <param name="start">First place.</param>
    /// <param name="length">Number of places.</param>
    /// <exception cref="ShapeException">The axis has not so many places.</exception>
    public static Tensor Slice(Tensor x, int axis, int start, int length)
    {
        Require.Float(x, nameof(x));
        axis = AxisOf(x, axis);
        Require.That(start >= 0 && length >= 0 && (long)start + length <= x.Size(axis), $"axis {axis} of {x.Describe()} has no places {start} to {(long)start + length}");
        var shape = x.Shape.ToArray();
        shape[axis] = length;
        var y = Tensor.Empty(x.Device, x.DType, shape);
        Copy(x, y, axis, start, 0, length);
        if (Autograd.IsRecording(x))
        {
            Autograd.Record("slice", [x], [y], [], static (ctx, dy) =>
            {
                if (dy[0] is not { } given) return [null];
                var (axis, start, shape) = ctx.State<(int, int, int[])>();
                var dx = Tensor.Zeros(given.Device, given.DType, shape);
                Copy(given, dx, axis, 0, start, given.Size(axis));
                return [dx];
            }, (axis, start, x.Shape.ToArray()));
        }
        return y;
    }

    /// <summary>Slices of the given sizes, in order, that make up an axis.</summary>
    /// <exception cref="ShapeException">The sizes do not add up to the axis.</exception>
    public static Tensor[] Split(Tensor x, int axis, params ReadOnlySpan<int> sizes)
    {
        axis = AxisOf(x, axis);
        long sum = 0;
        foreach (var size in sizes) sum += size;
        Require.That(sum == x.Size(axis), $"sizes [{string.Join(", ", sizes.ToArray())}] do not make up axis {axis} of {x.Describe()}");
        var parts = new Tensor[sizes.Length];
        var start = 0;
        for (var i = 0; i < parts.Length; start += sizes[i], i++) parts[i] = Slice(x, axis, start, sizes[i]);
        return parts;
    }

    /// <summary>Repeats every key or value head <paramref name="groups"/> times in a row: [B, T, H, D] to [B, T, H·groups, D]. Head h·groups + g is head h.</summary>
    /// <exception cref="ShapeException">x has not four axes, or groups is not positive.</exception>
    public static Tensor RepeatHeads(Tensor x, int groups)
    {
        Require.Rank(x, 4, nameof(x));
        Require.Float(x, nameof(x));
        Require.That(groups > 0, $"heads repeat a positive number of times, not {groups}");
        if (groups == 1) return x.View(x.Shape);
        int heads = x.Size(2), width = x.Size(3);
        var rows = (long)x.Size(0) * x.Size(1) * heads;
        var y = Tensor.Empty(x.Device, x.DType, x.Size(0), x.Size(1), checked(heads * groups), width);
        Launch(x, y, rows, width, groups, width, (long)groups * width, 0, 0);
        if (Autograd.IsRecording(x))
        {
            Autograd.Record("repeat_heads", [x], [y], [], static (ctx, dy) =>
            {
                var (groups, shape, type) = ctx.State<(int, int[], DType)>();
                return [dy[0] is { } given ? Reductions.Run(given, (long)shape[0] * shape[1] * shape[2], groups, shape[3], Reduction.Sum, type, shape) : null];
            }, (groups, x.Shape.ToArray(), x.DType));
        }
        return y;
    }

    private static int AxisOf(Tensor x, int axis)
    {
        x.Size(axis);
        return axis < 0 ? axis + x.Rank : axis;
    }

    /// <summary>Copies places of an axis of x to places of the same axis of y.</summary>
    private static void Copy(Tensor x, Tensor y, int axis, int from, int to, int length)
    {
        var inner = Tensor.CountOf(x.Shape[(axis + 1)..]);
        Launch(x, y, Tensor.CountOf(x.Shape[..axis]), length * inner, 1, x.Size(axis) * inner, y.Size(axis) * inner, from * inner, to * inner);
    }

    private static void Launch(Tensor x, Tensor y, long rows, long width, int copies, long xStride, long yStride, long xStart, long yStart)
    {
        if (width == 0) return;
        var isWide = xStride % 4 == 0 && yStride % 4 == 0 && xStart % 4 == 0 && yStart % 4 == 0 ? RowLayout.Wide(width, x, y) : 0;
        BlockKernel.Launch(x.Device, new(x, y, RowLayout.Index(rows, x), RowLayout.Index(width, x), (uint)copies, RowLayout.Index(xStride, x), RowLayout.Index(yStride, y),
            RowLayout.Index(xStart, x), RowLayout.Index(yStart, y), isWide), Grid.Over(rows * ((width + 3) / 4), RowLayout.Workgroup), x.DType.Variant(), RowLayout.Workgroup);
    }
}
