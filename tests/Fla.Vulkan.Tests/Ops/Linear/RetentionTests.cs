using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Linear;

public sealed class RetentionTests(TestDevice device) : DeviceTests(device)
{
    private static IEnumerable<LinearCase> Cases()
    {
        var usual = new LinearCase { H = 3, V = 40 };
        yield return usual;
        yield return usual with { Type = DType.Float16, B = 1, T = 81, Packed = [0, 15, 16, 16, 81] };
        yield return usual with { Type = DType.BFloat16, HasStates = false };
    }

    private static RefResult Expected(LinearCase c) => Reference.Retention(c.Q, c.Key, c.Value, c.Scale, c.InitialState, c.Reverse, c.Packed, c.OutputGradient, c.FinalGradient);

    [TestCaseSource(nameof(Cases))]
    public void ChunkIsTheRecurrence(object of)
    {
        var c = (LinearCase)of;
        c.Check(Device, Expected(c), [], (q, k, v, _, h0, packed) => LinearOps.ChunkRetention(q, k, v, null, h0, c.HasStates, packed));
    }

    [TestCaseSource(nameof(Cases))]
    public void FusedChunkIsTheRecurrence(object of)
    {
        var c = (LinearCase)of;
        c.Check(Device, Expected(c), [], (q, k, v, _, h0, packed) => LinearOps.FusedChunkRetention(q, k, v, null, h0, c.HasStates, packed));
    }

    [TestCaseSource(nameof(Cases))]
    public void RecurrentIsTheRecurrence(object of) => Recurrent((LinearCase)of);

    [Test]
    public void RecurrentRunsBackwards() => Recurrent(new LinearCase { T = 20, Reverse = true, VFirst = true });

    private void Recurrent(LinearCase c) => c.Check(Device, Expected(c), [], (q, k, v, _, h0, packed) =>
        LinearOps.FusedRecurrentRetention(q, k, v, null, h0, c.HasStates, c.Reverse, c.VFirst, packed));

    [Test]
    public void DecaysOfManyHeadsAreExact()
    {
        var c = new LinearCase { B = 1, T = 50, H = 20, K = 4, V = 4, HasGradients = false };
        c.Check(Device, Expected(c), [], (q, k, v, _, h0, packed) => LinearOps.FusedRecurrentRetention(q, k, v, null, h0, true));
    }

    [Test]
    public void GoldenCase() => GoldenLinear.Check(Device, "chunk_retention", [], (q, k, v, _) => LinearOps.ChunkRetention(q, k, v, outputFinalState: true));
}
