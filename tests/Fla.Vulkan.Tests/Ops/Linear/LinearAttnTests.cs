using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Linear;

public sealed class LinearAttnTests(TestDevice device) : DeviceTests(device)
{
    private static IEnumerable<LinearCase> Cases()
    {
        var usual = new LinearCase { IsPositive = true };
        yield return usual;
        yield return usual with { B = 1, T = 97, Packed = [0, 1, 17, 80, 80, 97], Scale = 0.5 };
        yield return usual with { HasStates = false, T = 130, B = 1 };
        yield return usual with { Type = DType.Float16 };
        yield return usual with { Type = DType.BFloat16 };
    }

    [TestCaseSource(nameof(Cases))]
    public void ChunkNormalizesAsTheRecurrence(object of) => Check((LinearCase)of, LinearMode.Chunk, normalize: true);

    [TestCaseSource(nameof(Cases))]
    public void FusedChunkNormalizesAsTheRecurrence(object of) => Check((LinearCase)of, LinearMode.FusedChunk, normalize: true);

    [TestCaseSource(nameof(Cases))]
    public void RecurrentNormalizesAsTheRecurrence(object of) => Check((LinearCase)of, LinearMode.Recurrent, normalize: true);

    [Test]
    public void RecurrentRunsBackwards([Values] bool normalize) =>
        Check(new LinearCase { IsPositive = true, B = 1, T = 80, Packed = [0, 70, 70, 80], Reverse = true }, LinearMode.Recurrent, normalize);

    [Test]
    public void PlainFormsAreTheRecurrence([Values] LinearMode mode) => Check(new LinearCase(), mode, normalize: false);

    [Test]
    public void NormalizerNeedsNormalization()
    {
        Tensor q = Tensor.Zeros(Device, DType.Float32, 1, 4, 1, 8), z = Tensor.Zeros(Device, DType.Float32, 1, 1, 1, 8);
        Assert.That(() => LinearOps.ChunkLinearAttn(q, q, q, initialNormalizer: z, normalize: false), Throws.TypeOf<ShapeException>());
    }

    // Batch 1, head 1 divides by nearly zero: two right results differ there.
    [Test]
    public void GoldenCase() => GoldenLinear.Check(Device, "chunk_linear_attn", [], (q, k, v, _) =>
    {
        var (o, state, _) = LinearOps.ChunkLinearAttn(q, k, v, outputFinalState: true);
        return (o, state);
    }, keeps: (batch, head) => (batch, head) != (1, 1));

    private void Check(LinearCase c, LinearMode mode, bool normalize)
    {
        var z0 = normalize && c.HasStates ? Inputs.Uniform(20, 0.1, 1, c.N, 1, c.H, c.K) : null;
        var dz = normalize && c.HasStates ? Inputs.Normal(21, c.N, 1, c.H, c.K) : null;
        var expected = Reference.LinearAttn(c.Q, c.Key, c.Value, c.Scale, c.InitialState, z0, normalize, c.Reverse, c.Packed, c.OutputGradient, c.FinalGradient, dz);
        var z = z0 is null ? null : LinearCase.Upload(Device, z0, DType.Float32);
        if (z is not null) z.RequiresGrad = true;
        Tensor? zt = null;
        c.Check(Device, expected, [], (q, k, v, _, h0, packed) =>
        {
            var (o, state, normalizer) = mode switch
            {
                LinearMode.Chunk => LinearOps.ChunkLinearAttn(q, k, v, (float?)c.Scale, h0, z, c.HasStates, normalize, packed),
                LinearMode.FusedChunk => LinearOps.FusedChunkLinearAttn(q, k, v, (float?)c.Scale, h0, z, c.HasStates, normalize, packed),
                _ => LinearOps.FusedRecurrentLinearAttn(q, k, v, (float?)c.Scale, h0, z, c.HasStates, c.Reverse, normalize, packed),
            };
            zt = normalizer;
            return (o, state);
        }, () => dz is null ? [] : [(zt!, LinearCase.Upload(Device, dz, DType.Float32))]);
        Assert.That(zt is not null, Is.EqualTo(normalize));
        if (zt is not null) LinearCase.Compare("zt", zt, expected.Output("zt"), 1e-5);
        if (z is null) return;
        LinearCase.Compare("grad.z0", z.Grad!, expected.Grad("z0"), c.GradientTolerance);
        z.Grad!.Dispose();
    }
}
