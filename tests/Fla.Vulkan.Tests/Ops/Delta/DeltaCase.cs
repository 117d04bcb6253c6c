using System.Collections.Concurrent;
using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Delta;

/// <summary>
/// One call of an op of the delta-rule family with random inputs: sizes and options, every input the family knows by its name, and the comparison of outputs
/// and gradients with a reference.
/// </summary>
internal sealed record DeltaCase(int B = 2, int T = 70, int H = 2, int K = 32, int V = 24)
{
    /// <summary>Value heads of a key head.</summary>
    public int Groups { get; init; } = 1;

    public int[]? Packed { get; init; }

    /// <summary>Corrections a token.</summary>
    public int Householders { get; init; } = 1;

    public double? Scale { get; init; }

    public bool VFirst { get; init; }

    public bool HasStates { get; init; } = true;

    public bool HasGradients { get; init; } = true;

    /// <summary>Decays are log-sigmoid(normal) over this: 0.01 is very strong, 10 weak.</summary>
    public double Normalizer { get; init; } = 1;

    public DType Type { get; init; } = DType.Float32;

    /// <summary>Type of gates and step sizes.</summary>
    public DType GateType { get; init; } = DType.Float32;

    /// <summary>Keys (and erase keys) have length 1; not when the op itself divides by it.</summary>
    public bool HasUnitKeys { get; init; } = true;

    /// <summary>β is a logit.</summary>
    public bool HasRawBeta { get; init; }

    /// <summary>Of every three β one is 0 and one next to nothing.</summary>
    public bool HasIdleSteps { get; init; }

    /// <summary>What every op with gates and shared heads is tried with.</summary>
    public static IEnumerable<DeltaCase> Gated
    {
        get
        {
            var usual = new DeltaCase();
            yield return usual;
            yield return usual with { HasStates = false, Scale = 0.3 };
            yield return usual with { B = 1, T = 15, K = 60, V = 100, H = 1, VFirst = true };
            yield return usual with { B = 1, T = 65, H = 2, Groups = 2, V = 37 };
            yield return usual with { Normalizer = 0.01 };
            yield return usual with { Normalizer = 10, VFirst = true };
            yield return usual with { B = 1, T = 97, H = 1, Groups = 3, Packed = [0, 1, 17, 80, 80, 97], VFirst = true };
            yield return usual with { B = 1, T = 15, Packed = [0, 0, 15] };
            yield return usual with { Type = DType.Float16 };
            yield return usual with { Type = DType.BFloat16, GateType = DType.BFloat16 };
        }
    }

    /// <summary>Everything in the kernel at once: l2norm, gate, β sigmoid.</summary>
    public static IEnumerable<DeltaCase> Raw
    {
        get
        {
            var usual = new DeltaCase { HasUnitKeys = false, HasRawBeta = true, Groups = 2, H = 1 };
            yield return usual;
            yield return usual with { B = 1, T = 50, Packed = [0, 20, 20, 50], VFirst = true };
            yield return usual with { Type = DType.Float16 };
        }
    }

    public int HV => H * Groups;

    public int N => Packed is null ? B : Packed.Length - 1;

    public double ForwardTolerance => Type switch { DType.Float32 => 2e-5, DType.Float16 => 5e-3, _ => 2e-2 };

    public double GradientTolerance => Type switch { DType.Float32 => 1e-4, DType.Float16 => 1e-2, _ => 3e-2 };

    /// <summary>Of gradients that are sums over all tokens, whose terms cancel.</summary>
    private double SumTolerance => Type == DType.Float32 ? 1e-4 : 3e-2;

    public override string ToString() =>
        $"{Type.ShortName()} B{B} T{T} H{H}{(Groups == 1 ? "" : $"x{Groups}")} K{K} V{V}{(Packed is null ? "" : $" [{string.Join(' ', Packed)}]")}{(VFirst ? " vFirst" : "")}"
        + $"{(Scale is { } s ? $" scale {s}" : "")}{(HasStates ? "" : " no states")}{(Normalizer == 1 ? "" : $" n{Normalizer}")}{(GateType == DType.Float32 ? "" : $" gates {GateType.ShortName()}")}"
        + $"{(Householders == 1 ? "" : $" {Householders} householders")}{(HasUnitKeys ? "" : " free keys")}{(HasRawBeta ? " raw beta" : "")}{(HasIdleSteps ? " idle steps" : "")}{(HasGradients ? "" : " no gradients")}";

    /// <summary>An input by the name that its gradient has in the references ("beta4" and "betaN" are β, "bias4" and "biasN" dt_bias).</summary>
    public RefTensor this[string name]
    {
        get
        {
            int rows = T * Householders;
            return name switch
            {
                "q" => Round(Inputs.Normal(1, B, T, H, K), Type),
                "k" => Key(2, rows),
                "v" => Round(Inputs.Normal(3, B, rows, HV, V), Type),
                "p" => Key(4, rows),
                "b" => Round(Inputs.Uniform(5, 0, 1, B, rows, H, K), Type),
                "w" => Round(Inputs.Uniform(6, 0, 1, B, rows, HV, V), GateType),
                "beta" => Beta([B, rows, HV]),
                "beta4" => Beta([B, rows, HV, V]),
                "g" => Gate(8, B, T, HV),
                "gk" => Gate(9, B, T, HV, K),
                "gv" => Gate(10, B, T, HV, V),
                "A_log" => Inputs.Uniform(11, -1, 1, HV),
                "bias" => Inputs.Normal(12, HV),
                "bias4" => Inputs.Normal(12, HV, K),
                "h0" => Inputs.Normal(13, N, HV, K, V),
                "kk" => Round(Inputs.UnitVectors(14, B, T, H, K), Type),
                "rate" => Round(Inputs.Uniform(15, 0, 1, B, T, H, K), Type),
                "a" => this["kk"].Map(x => -x),
                "dplr b" => Round(new(this["kk"].Data.Zip(this["rate"].Data, (x, y) => x * y).ToArray(), B, T, H, K), Type),
                _ => throw new ArgumentException(name),
            };
        }
    }

    public RefTensor? InitialState => HasStates ? this["h0"] : null;

    public RefTensor? OutputGradient => HasGradients ? Round(Inputs.Normal(16, B, T, HV, V), Type) : null;

    public RefTensor? FinalGradient => HasGradients && HasStates ? Inputs.Normal(17, N, HV, K, V) : null;

    /// <summary>A reference of this case, computed once for all forms and devices.</summary>
    /// <param name="name">The op and its options.</param>
    /// <param name="reference">Computes it.</param>
    public RefResult Expect(string name, Func<RefResult> reference) => Known.GetOrAdd($"{name} {this}", _ => new(reference)).Value;

    private static readonly ConcurrentDictionary<string, Lazy<RefResult>> Known = new();

    /// <summary>Runs an op on the device and compares everything with the reference.</summary>
    /// <param name="device">Where.</param>
    /// <param name="reference">The expected results.</param>
    /// <param name="inputs">Names of the inputs after q, k and v; those with a slash, "beta4/beta", have another name in the reference.</param>
    /// <param name="op">From the inputs by name, the initial state and the packing to (o, final state).</param>
    public void Check(ComputeDevice device, RefResult reference, string[] inputs,
        Func<Func<string, Tensor>, Tensor?, CuSeqlens?, (Tensor O, Tensor? FinalState)> op)
    {
        using var packed = Packed is null ? null : new CuSeqlens(device, Packed);
        Dictionary<string, Tensor> leaves = [];
        foreach (var name in inputs.Concat(["q", "k", "v"])) leaves.Add(name.Split('/')[^1], Leaf(device, this[name.Split('/')[0]], TypeOf(name.Split('/')[0])));
        var h0 = InitialState is { } s ? Leaf(device, Laid(s), DType.Float32) : null;
        var (o, ht) = op(name => leaves[name], h0, packed);
        Assert.That((ht is not null, o.DType, ht?.DType ?? DType.Float32), Is.EqualTo((HasStates, Type, DType.Float32)));
        Compare("o", o, reference.O, ForwardTolerance);
        if (ht is not null) Compare("ht", ht, Laid(reference.FinalState), ForwardTolerance);
        if (!HasGradients) return;

        if (h0 is not null) leaves.Add("h0", h0);
        Assert.That(leaves.Keys, Is.EquivalentTo(reference.GradientNames));
        var dO = Upload(device, OutputGradient!, Type);
        if (ht is null) Autograd.Backward(o, dO);
        else Autograd.Backward([o, ht], [dO, Upload(device, Laid(FinalGradient!), DType.Float32)]);
        foreach (var (name, leaf) in leaves)
        {
            var expected = reference.Grad(name);
            Compare("grad." + name, leaf.Grad!, name == "h0" ? Laid(expected) : expected, name is "A_log" or "dt_bias" ? SumTolerance : GradientTolerance);
            leaf.Grad!.Dispose();
        }
    }

    public static void Compare(string name, Tensor actual, RefTensor expected, double tolerance)
    {
        Assert.That(actual.Shape.ToArray(), Is.EqualTo(expected.Shape), name);
        if (expected.Length > 0) ErrorRatio.AssertClose(actual.ToSingle(), expected.ToFloats(), tolerance, name);
    }

    public RefTensor Laid(RefTensor state) => VFirst ? state.SwapLastAxes() : state;

    public DType TypeOf(string name) => name switch
    {
        "q" or "k" or "v" or "p" or "b" or "kk" or "rate" or "a" or "dplr b" => Type,
        "A_log" or "bias" or "bias4" => DType.Float32,
        _ => GateType,
    };

    public static Tensor Upload(ComputeDevice device, RefTensor values, DType type) => Tensor.From(device, values.ToFloats(), values.Shape, type);

    private Tensor Leaf(ComputeDevice device, RefTensor values, DType type)
    {
        var leaf = Upload(device, values, type);
        leaf.RequiresGrad = HasGradients;
        return leaf;
    }

    private RefTensor Key(int seed, int rows) => Round(HasUnitKeys ? Inputs.UnitVectors(seed, B, rows, H, K) : Inputs.Normal(seed, B, rows, H, K), Type);

    private RefTensor Beta(int[] shape)
    {
        var beta = Inputs.Normal(7, shape).Map(x => HasRawBeta ? x : (float)(1 / (1 + Math.Exp(-x))));
        if (HasIdleSteps) for (var i = 0; i < beta.Length; i++) beta.Data[i] *= i % 3 == 0 ? 0 : i % 3 == 1 ? Tiny : 1;
        return Round(beta, GateType);
    }

    /// <summary>So little of a correction is left that it drowns in the storage type.</summary>
    private double Tiny => Type == DType.Float16 ? 1e-4 : 1e-30;

    private RefTensor Gate(int seed, params int[] shape) => Round(Inputs.LogSigmoidGate(seed, shape, Normalizer, 0.1), GateType);

    private static RefTensor Round(RefTensor x, DType type) => type switch
    {
        DType.Float16 => x.RoundToHalf(),
        DType.BFloat16 => x.RoundToBFloat16(),
        _ => x,
    };
}
