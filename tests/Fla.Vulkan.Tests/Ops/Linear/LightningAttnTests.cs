using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Linear;

public sealed class LightningAttnTests(TestDevice device) : DeviceTests(device)
{
    // Layer 0 of 12: the last head decays by e^-6 a token, so a padded row would overflow.
    private static IEnumerable<LinearCase> Cases()
    {
        var usual = new LinearCase { B = 1, H = 4, V = 40 };
        yield return usual;
        yield return usual with { Type = DType.Float16, T = 81, Packed = [0, 15, 16, 16, 81] };
        yield return usual with { Type = DType.BFloat16, HasStates = false };
    }

    private static RefResult Expected(LinearCase c) =>
        Reference.LightningAttn(c.Q, c.Key, c.Value, 0, 12, c.Scale, c.InitialState, c.Reverse, c.Packed, c.OutputGradient, c.FinalGradient);

    [TestCaseSource(nameof(Cases))]
    public void ChunkIsTheRecurrence(object of)
    {
        var c = (LinearCase)of;
        c.Check(Device, Expected(c), [], (q, k, v, _, h0, packed) => LinearOps.ChunkLightningAttn(q, k, v, 0, 12, null, h0, c.HasStates, packed));
    }

    [TestCaseSource(nameof(Cases))]
    public void RecurrentIsTheRecurrence(object of) => Recurrent((LinearCase)of);

    [Test]
    public void RecurrentRunsBackwards() => Recurrent(new LinearCase { T = 20, Reverse = true });

    private void Recurrent(LinearCase c) => c.Check(Device, Expected(c), [], (q, k, v, _, h0, packed) =>
        LinearOps.FusedRecurrentLightningAttn(q, k, v, 0, 12, null, h0, c.HasStates, c.Reverse, packed));

    [TestCase(-1, 12)]
    [TestCase(12, 12)]
    public void LayerIsOneOfTheModel(int layerIdx, int numLayers)
    {
        var q = Tensor.Zeros(Device, DType.Float32, 1, 4, 1, 8);
        Assert.That(() => LinearOps.ChunkLightningAttn(q, q, q, layerIdx, numLayers), Throws.TypeOf<ArgumentOutOfRangeException>());
    }

    // The reference decays padded rows, which makes its final state NaN for head 1.
    [Test]
    public void GoldenCase() => GoldenLinear.Check(Device, "chunk_lightning_attn", [], (q, k, v, _) =>
        LinearOps.ChunkLightningAttn(q, k, v, 0, 12, outputFinalState: true), stateHeads: 1);
}
