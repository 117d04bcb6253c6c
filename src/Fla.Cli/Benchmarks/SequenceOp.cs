using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Cli.Benchmarks;

/// <summary>What an input of a sequence op holds, as in fla's registry: normal values, or a function of them.</summary>
internal enum SequenceInput
{
    /// <summary>[B,T,H,D], normal.</summary>
    Normal,

    /// <summary>[B,T,H,D], normal with a standard deviation of 0.1.</summary>
    Small,

    /// <summary>[B,T,H,D], log-sigmoid, at least -5.</summary>
    ChannelDecay,

    /// <summary>[B,T,H,D], RWKV-7's: a sigmoid times -e^(-1/2).</summary>
    Rwkv7Decay,

    /// <summary>[B,T,H], log-sigmoid.</summary>
    HeadDecay,

    /// <summary>[B,T,H], sigmoid.</summary>
    Beta,

    /// <summary>[B,T,H,D], sigmoid.</summary>
    ChannelBeta,

    /// <summary>[B,2T,H,D], normal: two steps a token.</summary>
    Steps,

    /// <summary>[B,2T,H], sigmoid.</summary>
    StepBeta,

    /// <summary>[B,T,H,D], normal, of length 1: with longer keys a delta rule lets its state grow without bound.</summary>
    Unit,

    /// <summary>[B,T,H,D], what <see cref="Erasing"/> erases: normal, of length 1.</summary>
    Erased,

    /// <summary>[B,T,H,D], the negative of the <see cref="Erased"/> input: with it a projection.</summary>
    Erasing,
}

/// <summary>
/// An op over [B,T,H,D]. It is checked, with all its gradients, against another way to the same in fp32, on the first and last head of the last batch row.
/// </summary>
/// <param name="Name">As in fla's registry.</param>
/// <param name="Inputs">Its tensors.</param>
/// <param name="Run">The op.</param>
/// <param name="Reference">The other way.</param>
/// <param name="Flops">Operations of one token and head, forward and backward, for a number of channels.</param>
internal sealed record SequenceOp(string Name, SequenceInput[] Inputs, SequenceForm Run, SequenceForm Reference, Func<int, (double Forward, double Backward)> Flops)
    : BenchOp(Name)
{
    private const ulong ErasedSeed = 77;

    /// <inheritdoc/>
    public override BenchCase Make(ComputeDevice device, DType type, BenchShape shape)
    {
        var inputs = Inputs.Select((kind, i) => Fill(device, type, kind, shape, (ulong)i + 1)).ToArray();
        foreach (var input in inputs) input.RequiresGrad = true;
        var gradient = RandomTensors.Normal(device, type, 99, 0, [shape.B, shape.T, shape.H, shape.D]);
        double bytes = inputs.Sum(x => x.ByteCount), output = gradient.ByteCount;
        var (forward, backward) = Flops(shape.D);
        var heads = (double)shape.Tokens * shape.H;
        BenchCase made = null!;
        made = new(inputs, () => Run(inputs, null), gradient, () => Error(made, shape), new(bytes + output, forward * heads), new(3 * bytes + 2 * output, (forward + backward) * heads));
        return made;
    }

    private double Error(BenchCase made, BenchShape shape)
    {
        int[] heads = shape.H > 1 ? [0, shape.H - 1] : [0];
        Tensor Cut(Tensor x)
        {
            using var off = Autograd.NoGrad();
            using var row = x.Narrow(shape.B - 1, 1);
            using var cut = Layouts.Concat(2, heads.Select(h => Layouts.Slice(row, 2, h, 1)).ToArray());
            return cut.To(DType.Float32);
        }
        var o = made.RunBoth();
        var slices = made.Inputs.Select(Cut).ToArray();
        foreach (var slice in slices) slice.RequiresGrad = true;
        var expected = Reference(slices, new(heads, shape.H));
        Autograd.Backward(expected, Cut(made.Gradient!));
        var worst = Ratios.Of(Cut(o).ToSingle(), expected.ToSingle());
        for (var i = 0; i < slices.Length; i++)
        {
            if (slices[i].Grad is { } wanted) worst = Ratios.Worse(worst, Ratios.Of(Cut(made.Inputs[i].Grad!).ToSingle(), wanted.ToSingle()));
        }
        made.ClearGradients();
        return worst;
    }

    private static Tensor Fill(ComputeDevice device, DType type, SequenceInput kind, BenchShape s, ulong seed)
    {
        var t = kind is SequenceInput.Steps or SequenceInput.StepBeta ? 2 * s.T : s.T;
        int[] sizes = kind is SequenceInput.HeadDecay or SequenceInput.Beta or SequenceInput.StepBeta ? [s.B, t, s.H] : [s.B, t, s.H, s.D];
        using var scope = device.Scope();
        var x = RandomTensors.Normal(device, type, kind is SequenceInput.Erased or SequenceInput.Erasing ? ErasedSeed : seed, 0, sizes);
        return scope.Keep(kind switch
        {
            SequenceInput.Small => Elementwise.Scale(x, 0.1f),
            SequenceInput.ChannelDecay => Elementwise.ClampMin(Activations.LogSigmoid(x), -5),
            SequenceInput.Rwkv7Decay => Elementwise.Affine(Activations.Sigmoid(x), -0.60653066f),
            SequenceInput.HeadDecay => Activations.LogSigmoid(x),
            SequenceInput.Beta or SequenceInput.ChannelBeta or SequenceInput.StepBeta => Activations.Sigmoid(x),
            SequenceInput.Unit or SequenceInput.Erased => Norms.L2Norm(x),
            SequenceInput.Erasing => Elementwise.Scale(Norms.L2Norm(x), -1),
            _ => x,
        });
    }
}

/// <summary>Errors relative to a reference.</summary>
internal static class Ratios
{
    /// <summary>Length of the difference over the reference's; NaN where anything is not finite.</summary>
    public static double Of(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        double difference = 0, norm = 0;
        for (var i = 0; i < expected.Length; i++)
        {
            difference += ((double)actual[i] - expected[i]) * ((double)actual[i] - expected[i]);
            norm += (double)expected[i] * expected[i];
        }
        return norm == 0 ? difference : Math.Sqrt(difference / norm);
    }

    /// <summary>The larger one; NaN if either is.</summary>
    public static double Worse(double a, double b) => double.IsNaN(a) || double.IsNaN(b) ? double.NaN : Math.Max(a, b);
}
