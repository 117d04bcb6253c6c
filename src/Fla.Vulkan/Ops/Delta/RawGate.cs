namespace Fla.Vulkan.Ops;

/// <summary>The decay of raw gates, −e^A_log · softplus(x + bias) or ℓ·σ(e^A_log (x + bias)), with its gradients (shaders/delta/gate.comp).</summary>
internal static class RawGate
{
    private static readonly Kernel<Args> Kernel = new("delta/gate");

    private readonly record struct Args(In X, In ALog, In Bias, Out G, In DG, Out DX, Out Partial, uint Tokens, uint Width, uint Channels, uint Types, uint Chunk,
        uint Bounded, float Lower);

    private sealed record Saved(int Heads, float? LowerBound);

    /// <summary>The log decays, fp32, of x's shape.</summary>
    /// <param name="x">[B,T,HV] or [B,T,HV,K], any float type.</param>
    /// <param name="aLog">[HV] or null.</param>
    /// <param name="bias">As many elements as x has channels, or null.</param>
    /// <param name="lowerBound">ℓ of the bounded form; null for the other.</param>
    public static Tensor Run(Tensor x, Tensor? aLog, Tensor? bias, float? lowerBound)
    {
        var g = Tensor.EmptyLike(x, DType.Float32);
        if (x.Count == 0) return g;
        var state = new Saved(x.Size(2), lowerBound);
        Launch(x, aLog, bias, g, null, null, null, state, Splits(x));
        if (Autograd.IsRecording(x, aLog, bias)) Autograd.Record("delta_gate", [x, aLog, bias], [g], [x, aLog, bias], Backward, state);
        return g;
    }

    private static Tensor?[] Backward(BackwardContext ctx, Tensor?[] dy)
    {
        if (dy[0] is not { } given) return [null, null, null];
        Tensor x = ctx.Saved(0)!;
        Tensor? aLog = ctx.Saved(1), bias = ctx.Saved(2);
        var (state, splits, width) = (ctx.State<Saved>(), Splits(x), WidthOf(x));
        var dx = Tensor.EmptyLike(x);
        using var partial = Tensor.Empty(x.Device, DType.Float32, splits.Count, 2, width);
        Launch(x, aLog, bias, null, given.As(DType.Float32), dx, partial, state, splits);
        if (!ctx.Needs(1) && !ctx.Needs(2)) return [dx, null, null];
        using var sums = Reductions.Run(partial, 1, splits.Count, 2 * width, Reduction.Sum, DType.Float32, [2, width]);
        var da = ctx.Needs(1) ? Reductions.Run(sums.Narrow(1, 1), state.Heads, width / state.Heads, 1, Reduction.Sum, aLog!.DType, aLog.Shape) : null;
        return [dx, da, ctx.Needs(2) ? sums.Narrow(0, 1).To(bias!.DType).View(bias.Shape) : null];
    }

    private static int WidthOf(Tensor x) => (int)(x.Count / ((long)x.Size(0) * x.Size(1)));

    private static ColumnSplits Splits(Tensor x) => ColumnSplits.Of(x.Device, x.Size(0) * x.Size(1), WidthOf(x));

    private static void Launch(Tensor x, Tensor? aLog, Tensor? bias, Tensor? g, Tensor? dg, Tensor? dx, Tensor? partial, Saved state, ColumnSplits splits)
    {
        var width = WidthOf(x);
        var types = RowLayout.TypeCode(x) | RowLayout.TypeCode(aLog) << 4 | RowLayout.TypeCode(bias) << 8;
        Kernel.Launch(x.Device, new(x, aLog, bias, g, dg, dx, partial, (uint)(x.Count / width), (uint)width, (uint)(width / state.Heads), types, (uint)splits.Chunk,
            state.LowerBound is null ? 0u : 1, state.LowerBound ?? 0), splits.Grid(width), null, ColumnSplits.Workgroup);
    }
}
