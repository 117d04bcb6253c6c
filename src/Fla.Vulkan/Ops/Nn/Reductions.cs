using System.Numerics;

namespace Fla.Vulkan.Ops;

/// <summary>What a reduction computes.</summary>
internal enum Reduction : uint
{
    Sum,
    SumOfSquares,
    CountNonFinite,
    Max,
}

/// <summary>Sums and extrema in fp32, in two deterministic stages (shaders/reduce).</summary>
public static class Reductions
{
    private const int Workgroup = RowLayout.Workgroup;
    private const int MaxColumns = 64;
    private const int TermsPerInvocation = 16;
    private const int CpuFlat = 64;

    private static readonly Kernel<Args> Stage = new("reduce/reduce");
    private static readonly Kernel<ArgMaxArgs> ArgMaxKernel = new("reduce/argmax");

    private readonly record struct Args(In X, Out Y, In Divisor, uint Outer, uint Count, uint Inner, uint Splits, uint Chunk, uint Columns, uint Depth,
        uint YType, float Scale);

    private readonly record struct ArgMaxArgs(In X, Out Index, uint Rows, uint Width);

    private sealed record Saved(DType Type, int[] Shape, long Inner, float Scale);

    /// <summary>Sum of all elements.</summary>
    /// <returns>A scalar [] in f32, or in the type named.</returns>
    /// <exception cref="DTypeException">x holds integers.</exception>
    public static Tensor Sum(Tensor x, DType type = DType.Float32) => Recorded("sum", x, 1, x.Count, 1, type, [], x.Count, 1);

    /// <summary>Mean of all elements.</summary>
    /// <returns>A scalar [] in f32, or in the type named; NaN for no elements.</returns>
    public static Tensor Mean(Tensor x, DType type = DType.Float32) => Recorded("mean", x, 1, x.Count, 1, type, [], x.Count, 1f / x.Count);

    /// <summary>Sum over the last axis: [..., D] to [...].</summary>
    /// <returns>In f32, or in the type named.</returns>
    public static Tensor SumLast(Tensor x, DType type = DType.Float32)
    {
        Require.That(x.Rank > 0, "a scalar has no last axis");
        return Recorded("sum_last", x, RowLayout.RowCount(x), x.Size(-1), 1, type, x.Shape[..^1], x.Size(-1), 1);
    }

    /// <summary>Sum over all axes but the last: [..., D] to [D].</summary>
    /// <returns>In f32, or in the type named.</returns>
    public static Tensor SumRows(Tensor x, DType type = DType.Float32)
    {
        Require.That(x.Rank > 0, "a scalar has no rows");
        return Recorded("sum_rows", x, 1, RowLayout.RowCount(x), x.Size(-1), type, x.Shape[^1..], 1, 1);
    }

    /// <summary>Σ x² of all elements, a scalar [] in f32. Not differentiable.</summary>
    public static Tensor SumOfSquares(Tensor x) => Run(x, 1, x.Count, 1, Reduction.SumOfSquares, DType.Float32, []);

    /// <summary>The largest element, a scalar [] in f32; −∞ for no elements. Not differentiable.</summary>
    public static Tensor Max(Tensor x) => Run(x, 1, x.Count, 1, Reduction.Max, DType.Float32, []);

    /// <summary>How many elements are NaN or infinite, a scalar [] in f32. Not differentiable.</summary>
    public static Tensor CountNonFinite(Tensor x) => Run(x, 1, x.Count, 1, Reduction.CountNonFinite, DType.Float32, []);

    /// <summary>Index of the largest element along the last axis, the first of equals: [..., D] to i32 [...]. NaNs are passed over.</summary>
    /// <exception cref="ShapeException">The last axis is empty.</exception>
    public static Tensor ArgMax(Tensor x)
    {
        Require.Float(x, nameof(x));
        Require.That(x.Rank > 0 && x.Size(-1) > 0, $"{x.Describe()} has no largest element along its last axis");
        var rows = RowLayout.RowCount(x);
        var index = Tensor.Empty(x.Device, DType.Int32, x.Shape[..^1]);
        ArgMaxKernel.Launch(x.Device, new(x, index, (uint)rows, (uint)x.Size(-1)), Grid.Linear(rows), null, Workgroup, RowLayout.TypeCode(x),
            RowLayout.AreOcts(x.Size(-1), x) ? 1u : 0);
        return index;
    }

    /// <summary>x [outer, count, inner] reduced over count, times scale, over divisor[0]; y has the elements [outer, inner] under the given shape.</summary>
    internal static Tensor Run(Tensor x, long outer, long count, long inner, Reduction op, DType type, ReadOnlySpan<int> shape, float scale = 1, Tensor? divisor = null)
    {
        Require.Float(x, nameof(x));
        var y = Tensor.Empty(x.Device, type, shape);
        if (y.Count == 0) return y;
        // On CPU drivers barriers are dear: with results enough for all invocations, each adds up its own.
        var isFlat = x.Device.IsCpu && outer * inner >= CpuFlat;
        var columns = Math.Min(isFlat ? Workgroup : MaxColumns, PowerOfTwo(inner));
        var depth = isFlat ? 1 : Math.Min(Workgroup / columns, PowerOfTwo(count));
        var groups = Ceiling(outer, Workgroup / (columns * depth)) * Ceiling(inner, columns);
        var splits = Math.Clamp(RowLayout.Fill(x.Device) / groups, 1, Math.Max(1, Ceiling(count, depth * TermsPerInvocation)));
        if (splits == 1)
        {
            Launch(x, y, divisor, op, scale, 1);
            return y;
        }
        using var partial = Tensor.Empty(x.Device, DType.Float32, (int)outer, (int)splits, (int)inner);
        Launch(x, partial, null, op, 1, splits);
        var next = op == Reduction.Max ? Reduction.Max : Reduction.Sum;
        depth = isFlat ? 1 : Math.Min(Workgroup / columns, PowerOfTwo(splits));
        count = splits;
        Launch(partial, y, divisor, next, scale, 1);
        return y;

        void Launch(Tensor from, Tensor to, Tensor? by, Reduction what, float factor, long pieces)
        {
            var grid = Grid.Linear(Ceiling(outer, Workgroup / (columns * depth)) * Ceiling(inner, columns) * pieces);
            Stage.Launch(from.Device, new(from, to, by, RowLayout.Index(outer, from), RowLayout.Index(count, from), RowLayout.Index(inner, from), (uint)pieces,
                (uint)Ceiling(count, pieces), (uint)columns, (uint)depth, RowLayout.TypeCode(to), factor), grid, from.DType.Variant(), Workgroup, (uint)what);
        }
    }

    private static Tensor Recorded(string name, Tensor x, long outer, long count, long inner, DType type, ReadOnlySpan<int> shape, long spread, float scale)
    {
        var y = Run(x, outer, count, inner, Reduction.Sum, type, shape, scale);
        if (Autograd.IsRecording(x))
        {
            Autograd.Record(name, [x], [y], [], static (ctx, dy) =>
            {
                var (type, shape, inner, scale) = ctx.State<Saved>();
                return [dy[0] is { } given ? ElementMap.Broadcast(given, type, shape, inner, scale) : null];
            }, new Saved(x.DType, x.Shape.ToArray(), Math.Max(1, spread), scale));
        }
        return y;
    }

    private static long Ceiling(long a, long b) => (a + b - 1) / b;

    private static long PowerOfTwo(long n) => (long)BitOperations.RoundUpToPowerOf2((ulong)Math.Clamp(n, 1, Workgroup));
}
