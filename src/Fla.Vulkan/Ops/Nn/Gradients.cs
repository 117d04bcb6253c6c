namespace Fla.Vulkan.Ops;

/// <summary>Gradients of all parameters together (shaders/optim/clip.comp).</summary>
public static class Gradients
{
    private const int ElementsPerPartial = 1 << 14;
    private const int MaxPartials = 256;

    private static readonly Kernel<ClipArgs> ClipKernel = new("optim/clip");

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
        var counts = gradients.Select(g => (int)Math.Clamp(g.Count / ElementsPerPartial, 1, MaxPartials)).ToArray();
        using var scope = new TensorScope();
        var squares = Tensor.Empty(device, DType.Float32, counts.Sum());
        var first = 0;
        for (var i = 0; i < counts.Length; i++)
        {
            Reductions.Partials(gradients[i], Reduction.SumOfSquares, squares.Narrow(first, counts[i]));
            first += counts[i];
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
}
