namespace Fla.Vulkan.Ops;

/// <summary>The functions of shaders/elementwise/functions.glsl, in its numbers.</summary>
internal enum ElementFunction : uint
{
    Add,
    Mul,
    Affine,
    Silu,
    Sigmoid,
    LogSigmoid,
    Gelu,
    Relu,
    SquaredRelu,
    BiasGelu,
    Exp,
    EluPlusOne,
    ClampMin,
    SwiGlu,
    SigmoidGlu,
    PowGlu,
    Softplus,
    Tanh,
    Div,
    Spread,
}

/// <summary>y = f(x, z) element by element (shaders/elementwise), z spread over x, with gradients.</summary>
internal static class ElementMap
{
    private static readonly Kernel<ForwardArgs> Forward = new("elementwise/map");
    private static readonly Kernel<BackwardArgs> BackwardKernel = new("elementwise/map_backward");

    private readonly record struct ForwardArgs(In X, In Z, Out Y, uint N, uint ZType, uint Inner, uint Period, uint Wide, float A, float B);

    private readonly record struct BackwardArgs(In DY, In X, In Z, Out DX, Out DZ, uint N, uint ZType, uint DZType, uint Inner, uint Period, uint Wide,
        float A, float B);

    private sealed record Saved(ElementFunction Function, float A, float B, Spread Spread, DType XType, DType ZType, int[] ZShape);

    /// <summary>z[(i / Inner) % Period] goes with x[i].</summary>
    private readonly record struct Spread(long Inner, long Period);

    public static Tensor Run(string name, ElementFunction function, Tensor x, Tensor? z = null, float a = 0, float b = 0)
    {
        Require.SameDevice(x, z);
        Require.Float(x, nameof(x));
        Require.Float(z, "the second operand");
        var spread = z is null ? new(1, x.Count) : SpreadOf(x, z);
        var y = Tensor.EmptyLike(x);
        Launch(function, x, z, y, spread, a, b);
        if (Autograd.IsRecording(x, z))
        {
            var isLinear = function is ElementFunction.Add or ElementFunction.Affine;
            Autograd.Record(name, [x, z], [y], isLinear ? [null, null] : [x, z], Backward,
                new Saved(function, a, b, spread, x.DType, z?.DType ?? DType.Float32, z?.Shape.ToArray() ?? []));
        }
        return y;
    }

    /// <summary>scale · z spread over a shape as <see cref="Run"/> would spread it; not recorded.</summary>
    public static Tensor Broadcast(Tensor z, DType type, ReadOnlySpan<int> shape, long inner, float scale)
    {
        var y = Tensor.Empty(z.Device, type, shape);
        Launch(ElementFunction.Spread, null, z, y, new(inner, Math.Max(1, z.Count)), scale, 0);
        return y;
    }

    /// <summary>x ← x·z with z [1]; not recorded.</summary>
    public static void MulInPlace(Tensor x, Tensor z)
    {
        Launch(ElementFunction.Mul, x, z, x, new(1, 1), 0, 0);
        x.Storage.Version++;
    }

    private static void Launch(ElementFunction function, Tensor? x, Tensor? z, Tensor y, Spread spread, float a, float b) =>
        Forward.Launch(y.Device, new(x, z, y, RowLayout.Index(y.Count, y), RowLayout.TypeCode(z), (uint)spread.Inner, (uint)spread.Period, Wide(y.Count, spread, z, x, y), a, b),
            RowLayout.Elements(y.Count), y.DType.Variant(), RowLayout.Workgroup, (uint)function);

    private static Tensor?[] Backward(BackwardContext ctx, Tensor?[] dy)
    {
        if (dy[0] is not { } given) return [null, null];
        var (function, a, b, spread, type, zType, zShape) = ctx.State<Saved>();
        given = given.As(type);
        if (function is ElementFunction.Add or ElementFunction.Affine)
        {
            return [ctx.Needs(0) ? Scaled(given, a) : null, ctx.Needs(1) ? Collect(given, spread, zShape, zType, b) : null];
        }
        Tensor x = ctx.Saved(0)!;
        var z = ctx.Saved(1);
        var dx = ctx.Needs(0) ? Tensor.EmptyLike(x) : null;
        var isFull = spread.Period == x.Count;
        var dz = ctx.Needs(1) ? Tensor.Empty(x.Device, isFull ? zType : DType.Float32, x.Shape) : null;
        BackwardKernel.Launch(x.Device, new(given, x, z, dx, dz, RowLayout.Index(x.Count, x), RowLayout.TypeCode(z), RowLayout.TypeCode(dz),
            (uint)spread.Inner, (uint)spread.Period, Wide(x.Count, spread, z, given, x, dx, dz), a, b), RowLayout.Elements(x.Count), type.Variant(), RowLayout.Workgroup, (uint)function);
        return [dx, dz is null ? null : isFull ? dz.View(zShape) : Collect(dz, spread, zShape, zType, 1)];
    }

    private static Tensor Scaled(Tensor x, float a) => a == 1 ? x : Run("scale", ElementFunction.Affine, x, null, a);

    /// <summary>Sums what a spread operand's elements went to: [outer, period, inner] to its shape.</summary>
    private static Tensor Collect(Tensor full, Spread spread, int[] shape, DType type, float scale)
    {
        var outer = full.Count / Math.Max(1, spread.Period * spread.Inner);
        if (spread.Inner == 1) return Reductions.Run(full, 1, outer, spread.Period, Reduction.Sum, type, shape, scale);
        if (outer == 1) return Reductions.Run(full, spread.Period, spread.Inner, 1, Reduction.Sum, type, shape, scale);
        using var rows = Reductions.Run(full, outer * spread.Period, spread.Inner, 1, Reduction.Sum, DType.Float32, [(int)(outer * spread.Period)], scale);
        return Reductions.Run(rows, 1, outer, spread.Period, Reduction.Sum, type, shape);
    }

    /// <summary>How z lies over x: right-aligned, sizes 1, then equal sizes, then sizes 1.</summary>
    private static Spread SpreadOf(Tensor x, Tensor z)
    {
        var error = $"{z.Describe()} does not spread over {x.Describe()}: aligned at the last axis its sizes must be ones, then equal ones, then ones";
        Require.That(z.Rank <= x.Rank, error);
        var lead = x.Rank - z.Rank;
        int SizeOf(int axis) => axis < lead ? 1 : z.Size(axis - lead);
        var end = x.Rank;
        while (end > 0 && SizeOf(end - 1) == 1 && z.Count != x.Count) end--;
        var start = end;
        while (start > 0 && SizeOf(start - 1) == x.Size(start - 1)) start--;
        for (var i = 0; i < start; i++) Require.That(SizeOf(i) == 1, error);
        long inner = 1, period = 1;
        for (var i = end; i < x.Rank; i++) inner *= x.Size(i);
        for (var i = start; i < end; i++) period *= x.Size(i);
        return new(Math.Max(1, inner), Math.Max(1, period));
    }

    private static uint Wide(long count, Spread spread, Tensor? z, params ReadOnlySpan<Tensor?> tensors)
    {
        if (RowLayout.Wide(4, tensors) == 0) return 0;
        if (z is null) return 1;
        var isWhole = spread.Inner == 1 && (spread.Period % 4 == 0 || spread.Period == count);
        return isWhole && RowLayout.Wide(4, z) == 1 ? 2u : 1u;
    }
}
