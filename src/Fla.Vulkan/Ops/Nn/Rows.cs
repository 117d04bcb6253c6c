namespace Fla.Vulkan.Ops;

/// <summary>Rows taken and placed by index tables, and repeated. Any element type; gradients flow through float ones.</summary>
public static class Rows
{
    private sealed record Saved(DType Type, int[] Shape, long Width);

    /// <summary>y[...] = x[index[...]] along the first axis. An index outside of x gives zeros. Rows taken twice add up in the gradient, in fp32 and in a fixed order.</summary>
    /// <param name="x">[R, ...].</param>
    /// <param name="index">i32 or i64, any shape.</param>
    /// <returns>[index's shape, ...].</returns>
    /// <exception cref="ShapeException">x is a scalar.</exception>
    /// <exception cref="DTypeException">The index table holds floats.</exception>
    public static Tensor Gather(Tensor x, Tensor index)
    {
        Check(x, index);
        var row = x.Shape[1..];
        var width = Tensor.CountOf(row);
        var y = Tensor.Empty(x.Device, x.DType, [.. index.Shape, .. row]);
        RowCopy.Gather(x, index, y, width);
        if (Autograd.IsRecording(x))
        {
            Autograd.Record("gather_rows", [x], [y], [index], static (ctx, dy) =>
            {
                if (dy[0] is not { } d) return [null];
                var (type, shape, width) = ctx.State<Saved>();
                return [IndexedSum.Run(d, ctx.Saved(0)!, type, shape[0], checked((int)width)).View(shape)];
            }, new Saved(x.DType, x.Shape.ToArray(), width));
        }
        return y;
    }

    /// <summary>y[index[r]] = x[r], zeros in the rows that no index names. Indices must differ; those outside of y are dropped.</summary>
    /// <param name="x">[M, ...].</param>
    /// <param name="index">i32 or i64 [M].</param>
    /// <param name="rows">Rows of y.</param>
    /// <returns>[rows, ...].</returns>
    /// <exception cref="ShapeException">Not one index a row.</exception>
    /// <exception cref="DTypeException">The index table holds floats.</exception>
    public static Tensor Scatter(Tensor x, Tensor index, int rows)
    {
        Check(x, index);
        Require.Shape(index, "index", x.Size(0));
        Require.That(rows >= 0, $"rows is not negative: {rows}");
        var y = Place(x, index, [rows, .. x.Shape[1..]]);
        if (Autograd.IsRecording(x))
        {
            Autograd.Record("scatter_rows", [x], [y], [index], static (ctx, dy) => [dy[0] is { } d ? Take(d, ctx.Saved(0)!) : null]);
        }
        return y;
    }

    /// <summary>Packs the tokens of a padded batch: [B,S,...] to [1, M, ...]; the gradient of padding is zero.</summary>
    /// <param name="x">[B,S,...].</param>
    /// <param name="index">i32 or i64 [M], different numbers b·S + s.</param>
    /// <exception cref="ShapeException">x has less than two axes, or the table more than one.</exception>
    /// <exception cref="DTypeException">The index table holds floats.</exception>
    public static Tensor Unpad(Tensor x, Tensor index)
    {
        Require.That(x.Rank >= 2, $"a padded batch has two axes or more, not {x.Describe()}");
        Check(x, index);
        Require.Rank(index, 1, "index");
        using var flat = x.Detach();
        using var rows = flat.View([x.Size(0) * x.Size(1), .. x.Shape[2..]]);
        using var taken = Take(rows, index);
        var y = taken.View([1, .. taken.Shape]);
        if (Autograd.IsRecording(x))
        {
            Autograd.Record("unpad", [x], [y], [index], static (ctx, dy) =>
            {
                if (dy[0] is not { } d) return [null];
                var shape = ctx.State<int[]>();
                return [Place(d, ctx.Saved(0)!, shape)];
            }, x.Shape.ToArray());
        }
        return y;
    }

    /// <summary>Spreads packed tokens over a padded batch, [1, M, ...] to [B,S,...], with zeros in the padding: <see cref="Unpad"/> backwards.</summary>
    /// <param name="x">[1, M, ...].</param>
    /// <param name="index">i32 or i64 [M], different numbers b·S + s.</param>
    /// <param name="batch">B.</param>
    /// <param name="length">S.</param>
    /// <exception cref="ShapeException">Not one index a token.</exception>
    /// <exception cref="DTypeException">The index table holds floats.</exception>
    public static Tensor Pad(Tensor x, Tensor index, int batch, int length)
    {
        Require.That(x.Rank >= 2 && x.Size(0) == 1, $"packed tokens have the shape [1, M, ...], not {x.Describe()}");
        Check(x, index);
        Require.Shape(index, "index", x.Size(1));
        Require.That(batch >= 0 && length >= 0, $"sizes are not negative: {batch}, {length}");
        var y = Place(x, index, [batch, length, .. x.Shape[2..]]);
        if (Autograd.IsRecording(x))
        {
            Autograd.Record("pad", [x], [y], [index], static (ctx, dy) =>
            {
                if (dy[0] is not { } d) return [null];
                using var rows = d.View([d.Size(0) * d.Size(1), .. d.Shape[2..]]);
                return [Take(rows, ctx.Saved(0)!).View(ctx.State<int[]>())];
            }, x.Shape.ToArray());
        }
        return y;
    }

    /// <summary>Repeats every key or value head <paramref name="groups"/> times in a row: [B,T,H,D] to [B,T,H·groups,D]. Head h·groups + g is head h. Gradients of the
    /// copies add up in fp32.</summary>
    /// <exception cref="ShapeException">x has not four axes, or groups is not positive.</exception>
    public static Tensor RepeatHeads(Tensor x, int groups)
    {
        Require.Rank(x, 4, nameof(x));
        Require.That(groups > 0, $"heads repeat a positive number of times, not {groups}");
        if (groups == 1) return x.View(x.Shape);
        var y = Tensor.Empty(x.Device, x.DType, x.Size(0), x.Size(1), checked(x.Size(2) * groups), x.Size(3));
        RowCopy.Repeat(x, y, x.Size(3), groups);
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

    private static void Check(Tensor x, Tensor index)
    {
        Require.SameDevice(x, index);
        Require.That(x.Rank > 0, "a scalar has no rows");
        RowCopy.RequireIndex(index, "index");
    }

    /// <summary>[R, ...] to [M, ...].</summary>
    private static Tensor Take(Tensor x, Tensor index)
    {
        var y = Tensor.Empty(x.Device, x.DType, [index.Size(0), .. x.Shape[1..]]);
        RowCopy.Gather(x, index, y, Tensor.CountOf(x.Shape[1..]));
        return y;
    }

    /// <summary>The rows of x, as many as there are indices, at their places in zeros of a shape.</summary>
    private static Tensor Place(Tensor x, Tensor index, ReadOnlySpan<int> shape)
    {
        var y = Tensor.Zeros(x.Device, x.DType, shape);
        RowCopy.Scatter(x, index, y, index.Count == 0 ? 0 : x.Count / index.Count);
        return y;
    }
}
