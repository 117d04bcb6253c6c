namespace Fla.Vulkan.Ops;

/// <summary>Tensors joined, cut and turned along the last axis. Any element type; gradients flow through float ones.</summary>
public static class Columns
{
    /// <summary>Joins tensors along the last axis: [..., D₁], [..., D₂], ... to [..., D₁ + D₂ + ...].</summary>
    /// <exception cref="ShapeException">No tensors, or other axes that differ.</exception>
    /// <exception cref="DTypeException">Types that differ.</exception>
    public static Tensor Concat(params ReadOnlySpan<Tensor> parts)
    {
        Require.That(parts.Length > 0 && parts[0].Rank > 0, "concat needs at least one tensor with an axis");
        foreach (var part in parts)
        {
            Require.SameDevice(parts[0], part);
            Require.Type(part, parts[0].DType, "a part of concat");
            Require.That(part.Rank == parts[0].Rank && part.Shape[..^1].SequenceEqual(parts[0].Shape[..^1]), $"{part.Describe()} cannot be joined to {parts[0].Describe()}");
        }
        var sizes = Sizes(parts);
        var y = Join(parts[0], [.. parts], sizes);
        if (Autograd.IsRecording([.. parts]))
        {
            Autograd.Record("concat", [.. parts], [y], [], static (ctx, dy) =>
            {
                var sizes = ctx.State<int[]>();
                return dy[0] is { } d ? Cut(d, sizes, ctx.Needs) : new Tensor?[sizes.Length];
            }, sizes);
        }
        return y;
    }

    /// <summary>Cuts the last axis into parts of the given sizes: [..., D] to [..., D₁], [..., D₂], ...</summary>
    /// <exception cref="ShapeException">The sizes do not add up to D.</exception>
    public static Tensor[] Split(Tensor x, params ReadOnlySpan<int> sizes)
    {
        long total = 0;
        var allPositive = true;
        foreach (var size in sizes)
        {
            total += size;
            allPositive &= size >= 0;
        }
        Require.That(x.Rank > 0 && allPositive && total == x.Size(-1), $"[{string.Join(", ", sizes.ToArray())}] does not cut the last axis of {x.Describe()}");
        var parts = Cut(x, sizes, _ => true).Select(p => p!).ToArray();
        if (Autograd.IsRecording(x))
        {
            Autograd.Record("split", [x], parts, [], static (ctx, dy) => [Join(dy.First(d => d != null)!, dy, ctx.State<int[]>())], sizes.ToArray());
        }
        return parts;
    }

    /// <summary>Turns the last axis: y[..., (i + shift) mod D] = x[..., i].</summary>
    /// <exception cref="ShapeException">x is a scalar.</exception>
    public static Tensor Roll(Tensor x, int shift)
    {
        Require.That(x.Rank > 0, "a scalar has no axis to turn");
        var y = Rolled(x, shift);
        if (Autograd.IsRecording(x)) Autograd.Record("roll", [x], [y], [], static (ctx, dy) => [dy[0] is { } d ? Rolled(d, -ctx.State<int>()) : null], shift);
        return y;
    }

    private static int[] Sizes(ReadOnlySpan<Tensor> parts)
    {
        var sizes = new int[parts.Length];
        for (var i = 0; i < sizes.Length; i++) sizes[i] = parts[i].Size(-1);
        return sizes;
    }

    /// <summary>Zeros stand for a part that is null.</summary>
    private static Tensor Join(Tensor like, ReadOnlySpan<Tensor?> parts, int[] sizes)
    {
        var y = Tensor.Empty(like.Device, like.DType, [.. like.Shape[..^1], checked(sizes.Sum())]);
        for (int i = 0, start = 0; i < sizes.Length; start += sizes[i++]) ColumnCopy.Run(parts[i], 0, y, start, sizes[i]);
        return y;
    }

    private static Tensor?[] Cut(Tensor x, ReadOnlySpan<int> sizes, Func<int, bool> isNeeded)
    {
        var parts = new Tensor?[sizes.Length];
        for (int i = 0, start = 0; i < sizes.Length; start += sizes[i++])
        {
            if (!isNeeded(i)) continue;
            parts[i] = Tensor.Empty(x.Device, x.DType, [.. x.Shape[..^1], sizes[i]]);
            ColumnCopy.Run(x, start, parts[i]!, 0, sizes[i]);
        }
        return parts;
    }

    private static Tensor Rolled(Tensor x, int shift)
    {
        var width = x.Size(-1);
        var y = Tensor.EmptyLike(x);
        if (width == 0) return y;
        var first = ((shift % width) + width) % width;
        ColumnCopy.Run(x, 0, y, first, width - first);
        ColumnCopy.Run(x, width - first, y, 0, first);
        return y;
    }
}
