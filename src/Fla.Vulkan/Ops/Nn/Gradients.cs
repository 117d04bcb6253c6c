namespace Fla.Vulkan.Ops;

/// <summary>Gradients of all parameters together (shaders/optim/squares.comp, shaders/optim/clip.comp).</summary>
public static class Gradients
{
    /// <summary>Gradients that one launch takes: few launches, for each waits for the one before.</summary>
    private const int Together = 8;

    /// <summary>STRETCH of the shader.</summary>
    private const int ElementsPerStretch = 1 << 16;

    private static readonly Kernel<SquaresArgs> SquaresKernel = new("optim/squares");
    private static readonly Kernel<ClipArgs> ClipKernel = new("optim/clip");

    private readonly record struct SquaresArgs(In X0, In X1, In X2, In X3, In X4, In X5, In X6, In X7, Out Sums, uint N0, uint N1, uint N2, uint N3, uint N4, uint N5, uint N6, uint N7,
        uint Types, uint Wide);

    private readonly record struct ClipArgs(In Squares, In Scale, Out Result, uint N, float MaxNorm);

    /// <summary>
    /// The norm of all gradients together and the factor that brings it down to <paramref name="maxNorm"/> (Pascanu et al. 2013), on the device, without
    /// changing the gradients: <see cref="Optimizers.AdamWStep"/> applies the factor.
    /// </summary>
    /// <param name="gradients">Float tensors of one device.</param>
    /// <param name="maxNorm">Positive; infinite for no limit.</param>
    /// <param name="scale">f32 [1]: what all gradients were multiplied by, see <see cref="LossScaling"/>; the norm is without it, the factor takes it away. 1 when null.</param>
    /// <returns>f32 [3]: norm; min(1, maxNorm / (norm + 1e-6)) / scale; 1 if the norm is NaN or infinite, else 0.</returns>
    /// <exception cref="ShapeException">No gradients, or a limit that is not positive.</exception>
    public static Tensor ClipNorm(IReadOnlyList<Tensor> gradients, float maxNorm, Tensor? scale = null)
    {
        Require.That(gradients.Count > 0, "there are no gradients to clip");
        Require.That(maxNorm > 0, $"the norm can be clipped to a positive number, not to {maxNorm}");
        Require.SameDevice([.. gradients, scale]);
        Require.Shape(scale, nameof(scale), 1);
        Require.Type(scale, DType.Float32, nameof(scale));
        var device = gradients[0].Device;
        foreach (var gradient in gradients) Require.Float(gradient, nameof(gradients));
        using var scope = new TensorScope();
        var squares = Tensor.Empty(device, DType.Float32, Math.Max(1, gradients.Sum(Stretches)));
        var first = 0;
        foreach (var some in gradients.Chunk(Together))
        {
            var stretches = some.Sum(Stretches);
            if (stretches > 0) SumSquares(some, squares.Narrow(first, stretches));
            first += stretches;
        }
        var result = Tensor.Empty(device, DType.Float32, 3);
        ClipKernel.Launch(device, new(squares, scale, result, (uint)first, maxNorm), new(1), null, RowLayout.Workgroup);
        return scope.Keep(result);
    }

    /// <summary>Multiplies gradients in place by the factor that <see cref="ClipNorm"/> found.</summary>
    /// <param name="gradients">Float tensors.</param>
    /// <param name="clip">What <see cref="ClipNorm"/> returned.</param>
    /// <exception cref="ShapeException">clip has not three elements.</exception>
    public static void Scale(IReadOnlyList<Tensor> gradients, Tensor clip)
    {
        Require.Shape(clip, nameof(clip), 3);
        Require.Type(clip, DType.Float32, nameof(clip));
        using var factor = clip.Narrow(1, 1);
        foreach (var gradient in gradients) ElementMap.MulInPlace(gradient, factor);
    }

    private static int Stretches(Tensor gradient) => gradient.Count == 0 ? 0 : (int)Math.Max(1, RowLayout.Index(gradient.Count, gradient) / ElementsPerStretch);

    private static void SumSquares(Tensor[] some, Tensor sums)
    {
        var (types, wide) = (0u, 0u);
        for (var i = 0; i < some.Length; i++)
        {
            types |= RowLayout.TypeCode(some[i]) << (4 * i);
            wide |= RowLayout.Wide(some[i].Count, some[i]) << i;
        }
        SquaresKernel.Launch(sums.Device, new(X(0), X(1), X(2), X(3), X(4), X(5), X(6), X(7), sums, N(0), N(1), N(2), N(3), N(4), N(5), N(6), N(7), types, wide),
            Grid.Linear(sums.Count), null, RowLayout.Workgroup);

        // A place without a gradient needs an address that can be read all the same.
        Tensor X(int i) => i < some.Length ? some[i] : some[0];
        uint N(int i) => i < some.Length ? (uint)some[i].Count : 0;
    }
}
