namespace Fla.Vulkan.Ops;

/// <summary>Copies along an axis (shaders/layout): parts side by side and slices. Any element type; gradients flow through float ones.</summary>
public static class Layouts
{
    private static readonly Kernel<Args> Columns = new("layout/columns");

    private readonly record struct Args(In X, Out Y, uint Rows, uint Pieces, uint XStride, uint YStride, uint XStart, uint YStart, uint Unit);

    /// <summary>Tensors side by side along an axis.</summary>
    /// <param name="axis">The axis; negative ones count from the end.</param>
    /// <param name="parts">Tensors of one type whose shapes differ at most there.</param>
    /// <exception cref="ShapeException">No parts, or shapes that do not fit.</exception>
    /// <exception cref="DTypeException">Types differ.</exception>
    public static Tensor Concat(int axis, params Tensor[] parts)
    {
        Require.That(parts.Length > 0, "there is nothing to put side by side");
        Require.SameDevice(parts);
        var first = parts[0];
        axis = AxisOf(first, axis);
        foreach (var part in parts)
        {
            Require.Type(part, first.DType, "each part");
            int[] expected = [.. first.Shape];
            if (part.Rank == first.Rank) expected[axis] = part.Size(axis);
            Require.Shape(part, "each part", expected);
        }
        var sizes = Array.ConvertAll(parts, p => p.Size(axis));
        var y = Join(first, axis, parts, sizes);
        if (Autograd.IsRecording(parts))
        {
            Autograd.Record("concat", parts, [y], [], static (ctx, dy) =>
            {
                var (axis, sizes) = ctx.State<(int, int[])>();
                return dy[0] is { } d ? Cut(d, axis, sizes, ctx.Needs) : new Tensor?[sizes.Length];
            }, (axis, sizes));
        }
        return y;
    }

    /// <summary>A copy of <paramref name="length"/> places of an axis from <paramref name="start"/> on.</summary>
    /// <param name="x">Any tensor.</param>
    /// <param name="axis">The axis; negative ones count from the end.</param>
    /// <param name="start">First place.</param>
    /// <param name="length">Number of places.</param>
    /// <exception cref="ShapeException">The axis has not so many places.</exception>
    public static Tensor Slice(Tensor x, int axis, int start, int length)
    {
        axis = AxisOf(x, axis);
        Require.That(start >= 0 && length >= 0 && (long)start + length <= x.Size(axis), $"axis {axis} of {x.Describe()} has no places {start} to {(long)start + length}");
        int[] sizes = [start, length, x.Size(axis) - start - length];
        var y = Cut(x, axis, sizes, i => i == 1)[1]!;
        if (Autograd.IsRecording(x))
        {
            Autograd.Record("slice", [x], [y], [], static (ctx, dy) =>
            {
                var (axis, sizes) = ctx.State<(int, int[])>();
                return [dy[0] is { } d ? Join(d, axis, [null, d, null], sizes) : null];
            }, (axis, sizes));
        }
        return y;
    }

    /// <summary>Copies of the given sizes, in order, that make up an axis.</summary>
    /// <exception cref="ShapeException">The sizes do not add up to the axis.</exception>
    public static Tensor[] Split(Tensor x, int axis, params ReadOnlySpan<int> sizes)
    {
        axis = AxisOf(x, axis);
        var all = sizes.ToArray();
        Require.That(all.All(s => s >= 0) && all.Sum(s => (long)s) == x.Size(axis), $"sizes [{string.Join(", ", all)}] do not make up axis {axis} of {x.Describe()}");
        var parts = Array.ConvertAll(Cut(x, axis, all, _ => true), p => p!);
        if (Autograd.IsRecording(x))
        {
            Autograd.Record("split", [x], parts, [], static (ctx, dy) =>
            {
                var (axis, sizes) = ctx.State<(int, int[])>();
                return [Join(dy.First(d => d != null)!, axis, dy, sizes)];
            }, (axis, all));
        }
        return parts;
    }

    private static int AxisOf(Tensor x, int axis)
    {
        x.Size(axis);
        return axis < 0 ? axis + x.Rank : axis;
    }

    /// <summary>Parts of the given sizes side by side; zeros stand for a part that is null. The other axes are those of <paramref name="like"/>.</summary>
    private static Tensor Join(Tensor like, int axis, ReadOnlySpan<Tensor?> parts, int[] sizes)
    {
        var shape = like.Shape.ToArray();
        shape[axis] = checked(sizes.Sum());
        var y = Tensor.Empty(like.Device, like.DType, shape);
        for (int i = 0, start = 0; i < sizes.Length; start += sizes[i++]) Copy(parts[i], 0, y, start, axis, sizes[i]);
        return y;
    }

    private static Tensor?[] Cut(Tensor x, int axis, int[] sizes, Func<int, bool> isNeeded)
    {
        var parts = new Tensor?[sizes.Length];
        var shape = x.Shape.ToArray();
        for (int i = 0, start = 0; i < sizes.Length; start += sizes[i++])
        {
            if (!isNeeded(i)) continue;
            shape[axis] = sizes[i];
            parts[i] = Tensor.Empty(x.Device, x.DType, shape);
            Copy(x, start, parts[i]!, 0, axis, sizes[i]);
        }
        return parts;
    }

    /// <summary>Copies places of an axis of x, or zeros, to places of the same axis of y.</summary>
    private static void Copy(Tensor? x, int from, Tensor y, int to, int axis, int length)
    {
        var rows = Tensor.CountOf(y.Shape[..axis]);
        var place = (ulong)(Tensor.CountOf(y.Shape[(axis + 1)..]) * y.DType.Size());
        if (rows == 0 || place == 0 || length == 0) return;
        ulong xStride = (ulong)(x?.Size(axis) ?? 0) * place, yStride = (ulong)y.Size(axis) * place;
        ulong xStart = x is null ? 0 : (ulong)from * place, yStart = (ulong)to * place, bytes = (ulong)length * place;
        var unit = RowCopy.Unit(bytes | xStride | yStride | xStart | yStart, x?.Address ?? 0, y.Address);
        uint Pieces(ulong count) => count / unit <= uint.MaxValue ? (uint)(count / unit) : throw new ShapeException($"a tensor {y.Describe()} has too many elements for this operation");
        Columns.Launch(y.Device, new(x, y, RowLayout.Index(rows, y), Pieces(bytes), Pieces(xStride), Pieces(yStride), Pieces(xStart), Pieces(yStart), unit),
            Grid.Over(rows * Pieces(bytes), RowLayout.Workgroup), null, RowLayout.Workgroup);
    }
}
