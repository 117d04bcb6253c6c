using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Delta;

/// <summary>
/// Over 65,536 tokens with random keys, the outputs and final states in bf16 stay finite and as near to fp32 as over a few (DeltaChunkTests has the gradients).
/// </summary>
public sealed class LongContextTests(TestDevice device) : DeviceTests(device)
{
    private const int Length = 1 << 16;

    private delegate (Tensor O, Tensor? FinalState) Op(Func<string, Tensor> inputs);

    private static Op Of(string name) => name switch
    {
        "gated_delta_rule" => x => DeltaOps.ChunkGatedDeltaRule(x("q"), x("k"), x("v"), x("g"), x("beta"), outputFinalState: true, useQkL2NormInKernel: true),
        "comba" => x => DeltaOps.ChunkComba(x("q"), x("k"), x("v"), x("p"), x("g"), x("beta"), outputFinalState: true, useQkL2NormInKernel: true),
        "kda" => x => DeltaOps.ChunkKda(x("q"), x("k"), x("v"), x("gk"), x("beta"), outputFinalState: true, useQkL2NormInKernel: true),
        "gdn2" => x => DeltaOps.ChunkGdn2(x("q"), x("k"), x("v"), x("gk"), x("b"), x("w"), outputFinalState: true, useQkL2NormInKernel: true),
        "rwkv7" => x => DeltaOps.ChunkRwkv7(x("q"), x("gk"), x("k"), x("v"), x("a"), x("dplr b"), outputFinalState: true, chunkSize: 64),
        _ => throw new ArgumentException(name),
    };

    [TestCase("gated_delta_rule")]
    [TestCase("comba")]
    [TestCase("kda")]
    [TestCase("gdn2")]
    [TestCase("rwkv7")]
    public void Bf16StaysNearFp32(string op)
    {
        var c = new DeltaCase(B: 1, T: Length, H: 1, K: 16, V: 16) { Type = DType.BFloat16, GateType = DType.BFloat16, HasUnitKeys = op == "rwkv7" };
        var (exact, near) = (Run(op, c, DType.Float32), Run(op, c, DType.BFloat16));
        ErrorRatio.AssertClose(near.O, exact.O, c.ForwardTolerance, "o");
        ErrorRatio.AssertClose(near.FinalState, exact.FinalState, c.ForwardTolerance, "ht");
    }

    /// <summary>Of the same bf16 numbers stored in a type.</summary>
    private (float[] O, float[] FinalState) Run(string op, DeltaCase c, DType type)
    {
        using var scope = Device.Scope();
        var (o, ht) = Of(op)(name => DeltaCase.Upload(Device, c[name], type));
        return (o.ToSingle(), ht!.ToSingle());
    }
}
