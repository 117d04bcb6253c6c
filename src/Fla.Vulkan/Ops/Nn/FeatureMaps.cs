namespace Fla.Vulkan.Ops;

/// <summary>The parts of linear attention's feature maps that have no parameters (shaders/elementwise/dpfp.comp).</summary>
public static class FeatureMaps
{
    private static readonly Kernel<Args> DpfpKernel = new("elementwise/dpfp");

    private readonly record struct Args(In X, In DY, Out Y, uint Rows, uint Width, uint Nu);

    /// <summary>Hedgehog's features of a projected head h: softmax over [2h, −2h] (Zhang et al. 2024).</summary>
    /// <param name="h">[..., K].</param>
    /// <returns>[..., 2K].</returns>
    public static Tensor Hedgehog(Tensor h)
    {
        using var scope = new TensorScope();
        return scope.Keep(Softmaxes.Softmax(Layouts.Concat(-1, Elementwise.Scale(h, 2), Elementwise.Scale(h, -2))));
    }

    /// <summary>DPFP (Schlag et al. 2021): with r = [relu(x), −relu(x)], r ⊙ roll(r, j) for j = 1..nu side by side.</summary>
    /// <param name="x">[..., K].</param>
    /// <param name="nu">How many products, positive.</param>
    /// <returns>[..., 2·K·nu].</returns>
    /// <exception cref="ShapeException">x is a scalar or nu is not positive.</exception>
    /// <exception cref="DTypeException">x holds integers.</exception>
    public static Tensor Dpfp(Tensor x, int nu = 4)
    {
        Require.Float(x, nameof(x));
        Require.That(x.Rank > 0 && nu > 0, $"dpfp needs a last axis and a positive nu, not {x.Describe()} and {nu}");
        var y = Tensor.Empty(x.Device, x.DType, [.. x.Shape[..^1], checked(2 * x.Size(-1) * nu)]);
        Launch(x, null, y, nu, y.Count);
        if (Autograd.IsRecording(x))
        {
            Autograd.Record("dpfp", [x], [y], [x], static (ctx, dy) =>
            {
                if (dy[0] is not { } given) return [null];
                var x = ctx.Saved(0)!;
                var dx = Tensor.EmptyLike(x);
                Launch(x, given.As(x.DType), dx, ctx.State<int>(), dx.Count);
                return [dx];
            }, nu);
        }
        return y;
    }

    private static void Launch(Tensor x, Tensor? dy, Tensor y, int nu, long items) =>
        DpfpKernel.Launch(x.Device, new(x, dy, y, RowLayout.Index(RowLayout.RowCount(x), x), (uint)x.Size(-1), (uint)nu), Grid.Over(items, RowLayout.Workgroup), x.DType.Variant(),
            RowLayout.Workgroup);
}
