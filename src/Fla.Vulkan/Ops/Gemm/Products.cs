namespace Fla.Vulkan.Ops;

/// <summary>Matrix products as operators with gradients. Storage f32, f16 or bf16, sums in fp32.</summary>
public static class Products
{
    /// <summary>y = x·Wᵀ + b.</summary>
    /// <param name="x">[..., in].</param>
    /// <param name="weight">[out, in], of x's type.</param>
    /// <param name="bias">[out], of x's type; or null.</param>
    /// <returns>[..., out], of x's type.</returns>
    /// <exception cref="ShapeException">Sizes do not fit.</exception>
    /// <exception cref="DTypeException">Types differ or are no float types.</exception>
    /// <exception cref="DeviceException">Tensors of two devices.</exception>
    public static Tensor Linear(Tensor x, Tensor weight, Tensor? bias = null)
    {
        Require.Rank(weight, 2, nameof(weight));
        var (outputs, inputs) = (weight.Size(0), weight.Size(1));
        Require.That(x.Rank >= 1 && x.Size(-1) == inputs, $"x needs {inputs} features to meet the weight {weight.Describe()}, it is {x.Describe()}");
        Require.Shape(bias, nameof(bias), outputs);
        var rows = RowsOf(x);
        var y = Tensor.Empty(x.Device, x.DType, [.. x.Shape[..^1], outputs]);
        Gemm.Run(new(x, rows, inputs), new(weight, outputs, inputs, Transposed: true), y, bias: bias);
        if (Autograd.IsRecording(x, weight, bias)) Autograd.Record("linear", [x, weight, bias], [y], [x, weight], LinearBackward);
        return y;
    }

    /// <summary>C = op(A)·op(B) for every batch.</summary>
    /// <param name="a">[..., M, K], or [..., K, M] if <paramref name="transA"/>.</param>
    /// <param name="b">[..., K, N], or [..., N, K] if <paramref name="transB"/>, of a's type: with a's leading axes, or without any and shared by all.</param>
    /// <param name="transA">A is stored transposed.</param>
    /// <param name="transB">B is stored transposed.</param>
    /// <returns>[..., M, N], of a's type.</returns>
    /// <exception cref="ShapeException">Sizes do not fit.</exception>
    /// <exception cref="DTypeException">Types differ or are no float types.</exception>
    /// <exception cref="DeviceException">Tensors of two devices.</exception>
    public static Tensor MatMul(Tensor a, Tensor b, bool transA = false, bool transB = false)
    {
        Require.That(a.Rank >= 2 && b.Rank >= 2, $"a product of matrices needs two axes each: {a.Describe()} and {b.Describe()}");
        Require.That(b.Rank == 2 || a.Shape[..^2].SequenceEqual(b.Shape[..^2]), $"the batches of {a.Describe()} and {b.Describe()} differ");
        var product = new BatchedProduct(a, b, transA, transB);
        var c = Tensor.Empty(a.Device, a.DType, [.. a.Shape[..^2], a.Size(transA ? -1 : -2), b.Size(transB ? -2 : -1)]);
        product.Forward(c);
        if (Autograd.IsRecording(a, b))
        {
            Autograd.Record("matmul", [a, b], [c], [a, b], static (ctx, dy) =>
            {
                var (transA, transB) = ctx.State<(bool, bool)>();
                var product = new BatchedProduct(ctx.Saved(0)!, ctx.Saved(1)!, transA, transB);
                return dy[0] is not { } dc ? [null, null] : [ctx.Needs(0) ? product.GradientOfA(dc) : null, ctx.Needs(1) ? product.GradientOfB(dc) : null];
            }, (transA, transB));
        }
        return c;
    }

    private static Tensor?[] LinearBackward(BackwardContext ctx, Tensor?[] gradients)
    {
        if (gradients[0] is not { } given) return [null, null, null];
        var (x, weight) = (ctx.Saved(0)!, ctx.Saved(1)!);
        var dy = given.As(x.DType);
        var (rows, outputs, inputs) = (RowsOf(x), weight.Size(0), weight.Size(1));
        Tensor? dx = null, dw = null;
        if (ctx.Needs(0))
        {
            dx = Tensor.EmptyLike(x);
            Gemm.Run(new(dy, rows, outputs), new(weight, outputs, inputs), dx);
        }
        if (ctx.Needs(1))
        {
            dw = Tensor.EmptyLike(weight);
            Gemm.Run(new(dy, rows, outputs, Transposed: true), new(x, rows, inputs), dw);
        }
        return [dx, dw, ctx.Needs(2) ? Reductions.Run(dy, 1, rows, outputs, Reduction.Sum, dy.DType, [outputs]) : null];
    }

    private static int RowsOf(Tensor x)
    {
        var rows = Tensor.CountOf(x.Shape[..^1]);
        Require.That(rows <= int.MaxValue, $"{x.Describe()} has more than 2^31 rows");
        return (int)rows;
    }
}
