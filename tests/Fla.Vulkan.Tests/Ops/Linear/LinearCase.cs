using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Linear;

/// <summary>The form of an op under test.</summary>
public enum LinearMode
{
    Chunk,
    FusedChunk,
    Recurrent,
}

/// <summary>
/// One call of an additive-memory op with random inputs: sizes, gates and options; its reference in double precision; and the comparison of
/// every output and gradient with it.
/// </summary>
internal sealed record LinearCase(int B = 2, int T = 70, int H = 2, int K = 32, int V = 24)
{
    public int[]? Packed { get; init; }

    public double? Scale { get; init; }

    public bool VFirst { get; init; }

    public bool Reverse { get; init; }

    public bool HasStates { get; init; } = true;

    public bool HasGradients { get; init; } = true;

    /// <summary>Decays are log-sigmoid(normal) over this: 0.01 is very strong, 10 weak.</summary>
    public double Normalizer { get; init; } = 1;

    public DType Type { get; init; } = DType.Float32;

    /// <summary>Type of the gates.</summary>
    public DType GateType { get; init; } = DType.Float32;

    /// <summary>Whether q and k are positive, as feature maps for a normalised op make them.</summary>
    public bool IsPositive { get; init; }

    public int N => Packed is null ? B : Packed.Length - 1;

    public int[] StateShape => VFirst ? [N, H, V, K] : [N, H, K, V];

    public override string ToString() =>
        $"{Type.ShortName()} B{B} T{T} H{H} K{K} V{V}{(Packed is null ? "" : $" [{string.Join(' ', Packed)}]")}{(VFirst ? " vFirst" : "")}{(Reverse ? " reverse" : "")}"
        + $"{(Scale is { } s ? $" scale {s}" : "")}{(HasStates ? "" : " no states")}{(Normalizer == 1 ? "" : $" n{Normalizer}")}{(GateType == DType.Float32 ? "" : $" gates {GateType.ShortName()}")}";

    public RefTensor Q => Input(1, B, T, H, K);

    public RefTensor Key => Input(2, B, T, H, K);

    public RefTensor Value => Round(Inputs.Normal(3, B, T, H, V), Type);

    public RefTensor G => Gate(4, B, T, H);

    public RefTensor Gk => Gate(5, B, T, H, K);

    public RefTensor Gv => Gate(6, B, T, H, V);

    public RefTensor? InitialState => HasStates ? Inputs.Normal(7, N, H, K, V) : null;

    public RefTensor? OutputGradient => HasGradients ? Round(Inputs.Normal(8, B, T, H, V), Type) : null;

    public RefTensor? FinalGradient => HasGradients && HasStates ? Inputs.Normal(9, N, H, K, V) : null;

    /// <summary>Runs an op on the device and compares everything with the reference.</summary>
    /// <param name="device">Where.</param>
    /// <param name="reference">The expected results.</param>
    /// <param name="gates">Names and values of the gates, as the reference calls them.</param>
    /// <param name="op">From (q, k, v, gates, initial state, packing) to (o, final state).</param>
    /// <param name="alsoFrom">Further outputs and their gradients, from which backward starts too.</param>
    public void Check(ComputeDevice device, RefResult reference, (string Name, RefTensor Value)[] gates,
        Func<Tensor, Tensor, Tensor, Tensor[], Tensor?, CuSeqlens?, (Tensor O, Tensor? FinalState)> op, Func<(Tensor, Tensor)[]>? alsoFrom = null)
    {
        using var packed = Packed is null ? null : new CuSeqlens(device, Packed);
        Tensor q = Leaf(device, Q, Type), k = Leaf(device, Key, Type), v = Leaf(device, Value, Type);
        var g = gates.Select(x => Leaf(device, x.Value, GateType)).ToArray();
        var h0 = InitialState is { } s ? Leaf(device, VFirst ? s.SwapLastAxes() : s, DType.Float32) : null;
        var (o, ht) = op(q, k, v, g, h0, packed);
        Assert.That((ht is not null, o.DType, ht?.DType ?? DType.Float32), Is.EqualTo((HasStates, Type, DType.Float32)));
        Compare("o", o, reference.O, ForwardTolerance);
        if (ht is not null) Compare("ht", ht, Laid(reference.FinalState), ForwardTolerance);
        if (!HasGradients) return;

        var dO = Upload(device, OutputGradient!, Type);
        (Tensor Output, Tensor Gradient)[] seeds = [(o, dO), .. alsoFrom?.Invoke() ?? []];
        if (ht is not null) seeds = [.. seeds, (ht, Upload(device, Laid(FinalGradient!), DType.Float32))];
        Autograd.Backward(seeds.Select(x => x.Output).ToArray(), seeds.Select(x => x.Gradient).ToArray());
        (string Name, Tensor Leaf)[] leaves = [("q", q), ("k", k), ("v", v), .. gates.Select((x, i) => (x.Name, g[i])), .. h0 is null ? [] : new[] { ("h0", h0) }];
        foreach (var (name, leaf) in leaves)
        {
            Assert.That(leaf.Grad?.DType, Is.EqualTo(name is "q" or "k" or "v" ? Type : DType.Float32), $"gradient of {name}");
            var expected = reference.Grad(name);
            Compare("grad." + name, leaf.Grad!, name == "h0" ? Laid(expected) : expected, GradientTolerance);
            leaf.Grad!.Dispose();
        }
    }

    public double ForwardTolerance => Type switch { DType.Float32 => 1e-5, DType.Float16 => 5e-3, _ => 2e-2 };

    public double GradientTolerance => Type switch { DType.Float32 => 1e-4, DType.Float16 => 1e-2, _ => 3e-2 };

    public static void Compare(string name, Tensor actual, RefTensor expected, double tolerance)
    {
        Assert.That(actual.Shape.ToArray(), Is.EqualTo(expected.Shape), name);
        if (expected.Length > 0) ErrorRatio.AssertClose(actual.ToSingle(), expected.ToFloats(), tolerance, name);
    }

    public RefTensor Laid(RefTensor state) => VFirst ? state.SwapLastAxes() : state;

    public static Tensor Upload(ComputeDevice device, RefTensor values, DType type) => Tensor.From(device, values.ToFloats(), values.Shape, type);

    private static Tensor Leaf(ComputeDevice device, RefTensor values, DType type)
    {
        var leaf = Upload(device, values, type);
        leaf.RequiresGrad = true;
        return leaf;
    }

    private RefTensor Input(int seed, params int[] shape) => Round(IsPositive ? Inputs.Uniform(seed, 0.1, 1, shape) : Inputs.Normal(seed, shape), Type);

    private RefTensor Gate(int seed, params int[] shape) => Round(Inputs.LogSigmoidGate(seed, shape, Normalizer, 0.1), GateType);

    private static RefTensor Round(RefTensor x, DType type) => type switch
    {
        DType.Float16 => x.RoundToHalf(),
        DType.BFloat16 => x.RoundToBFloat16(),
        _ => x,
    };
}
