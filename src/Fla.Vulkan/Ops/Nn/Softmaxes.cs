namespace Fla.Vulkan.Ops;

/// <summary>Vectors along the last axis made to sum to one (shaders/norm/softmax.comp), in fp32, stored in the type of x.</summary>
public static class Softmaxes
{
    private static readonly Kernel<Args> RowKernel = new("norm/softmax");

    private readonly record struct Args(In Saved, In DY, Out Y, uint Rows, uint Width, uint Lanes, uint BySum, uint Wide, float Eps);

    /// <summary>eˣ / Σ eˣ over the last axis.</summary>
    /// <param name="x">[..., D].</param>
    /// <exception cref="ShapeException">x is a scalar.</exception>
    /// <exception cref="DTypeException">x holds integers.</exception>
    public static Tensor Softmax(Tensor x)
    {
        var y = Run(x, null, false, 0);
        if (Autograd.IsRecording(x)) Autograd.Record("softmax", [x], [y], [y], static (ctx, dy) => [dy[0] is { } given ? Run(ctx.Saved(0)!, given, false, 0) : null]);
        return y;
    }

    /// <summary>x / (Σx + eps) over the last axis: linear attention's norm_q and norm_k.</summary>
    /// <param name="x">[..., D].</param>
    /// <param name="eps">Added to the sum.</param>
    /// <exception cref="ShapeException">x is a scalar.</exception>
    /// <exception cref="DTypeException">x holds integers.</exception>
    public static Tensor SumNormalize(Tensor x, float eps = 1e-4f)
    {
        var y = Run(x, null, true, eps);
        if (Autograd.IsRecording(x))
        {
            Autograd.Record("sum_normalize", [x], [y], [x], static (ctx, dy) => [dy[0] is { } given ? Run(ctx.Saved(0)!, given, true, ctx.State<float>()) : null], eps);
        }
        return y;
    }

    private static Tensor Run(Tensor saved, Tensor? dy, bool bySum, float eps)
    {
        Require.Float(saved, "x");
        Require.That(saved.Rank > 0, "a scalar has no last axis");
        var result = Tensor.EmptyLike(saved);
        int width = saved.Size(-1);
        var rows = RowLayout.RowCount(saved);
        dy = dy?.As(saved.DType);
        if (width == 0) return result;
        var lanes = RowLayout.Lanes(saved.Device, width);
        RowKernel.Launch(saved.Device, new(saved, dy, result, RowLayout.Index(rows, saved), (uint)width, (uint)lanes, bySum ? 1u : 0u,
            RowLayout.Wide(width, saved, dy, result), eps), RowLayout.Rows(saved.Device, rows, lanes), saved.DType.Variant(),
            RowLayout.RowWorkgroup(saved.Device));
        return result;
    }
}
