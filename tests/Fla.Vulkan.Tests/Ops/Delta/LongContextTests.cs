using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Delta;

/// <summary>Over 65,536 tokens with random keys, bf16 stays finite and as near to fp32 as over a few.</summary>
public sealed class LongContextTests(TestDevice device) : DeviceTests(device)
{
    private const int Length = 1 << 16;

    private delegate (Tensor O, Tensor? FinalState) Op(Func<string, Tensor> inputs);

    private static Op Of(string name) => name switch
    {
        "delta_rule" => x => DeltaOps.ChunkDeltaRule(x("q"), x("k"), x("v"), x("beta"), outputFinalState: true, useQkL2NormInKernel: true),
        "gated_delta_rule" => x => DeltaOps.ChunkGatedDeltaRule(x("q"), x("k"), x("v"), x("g"), x("beta"), outputFinalState: true, useQkL2NormInKernel: true),
        "comba" => x => DeltaOps.ChunkComba(x("q"), x("k"), x("v"), x("p"), x("g"), x("beta"), outputFinalState: true, useQkL2NormInKernel: true),
        "kda" => x => DeltaOps.ChunkKda(x("q"), x("k"), x("v"), x("gk"), x("beta"), outputFinalState: true, useQkL2NormInKernel: true),
        "gdn2" => x => DeltaOps.ChunkGdn2(x("q"), x("k"), x("v"), x("gk"), x("b"), x("w"), outputFinalState: true, useQkL2NormInKernel: true),
        "rwkv7" => x => DeltaOps.ChunkRwkv7(x("q"), x("gk"), x("k"), x("v"), x("a"), x("dplr b"), outputFinalState: true, chunkSize: 64),
        _ => throw new ArgumentException(name),
    };

    [TestCase("delta_rule")]
    [TestCase("gated_delta_rule")]
    [TestCase("comba")]
    [TestCase("kda")]
    [TestCase("gdn2")]
    [TestCase("rwkv7")]
    public void Bf16StaysNearFp32(string op)
    {
        var c = new DeltaCase(B: 1, T: Length, H: 1, K: 16, V: 16) { Type = DType.BFloat16, GateType = DType.BFloat16, HasUnitKeys = op == "rwkv7" };
        var (exact, near) = (Run(op, c, DType.Float32), Run(op, c, DType.BFloat16));
        Assert.That(near.Keys, Is.EquivalentTo(exact.Keys));
        Assert.Multiple(() =>
        {
            foreach (var (name, value) in near) ErrorRatio.AssertClose(value, exact[name], name.StartsWith("grad", StringComparison.Ordinal) ? 3e-2 : 2e-2, name);
        });
    }

    /// <summary>o, the final state and all gradients, of the same bf16 numbers stored in a type.</summary>
    private Dictionary<string, float[]> Run(string op, DeltaCase c, DType type)
    {
        using var scope = Device.Scope();
        Dictionary<string, Tensor> leaves = [];
        Tensor Leaf(string name)
        {
            if (!leaves.TryGetValue(name, out var leaf))
            {
                leaf = DeltaCase.Upload(Device, c[name], type);
                leaf.RequiresGrad = true;
                leaves.Add(name, leaf);
            }
            return leaf;
        }

        var (o, ht) = Of(op)(Leaf);
        Autograd.Backward(o, DeltaCase.Upload(Device, c.OutputGradient!, type));
        Dictionary<string, float[]> results = new() { ["o"] = o.ToSingle(), ["ht"] = ht!.ToSingle() };
        foreach (var (name, leaf) in leaves)
        {
            results.Add("grad." + name, leaf.Grad!.ToSingle());
            leaf.Grad.Dispose();
        }
        return results;
    }
}
