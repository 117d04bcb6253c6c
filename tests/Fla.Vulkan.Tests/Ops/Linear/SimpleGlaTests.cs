using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Linear;

public sealed class SimpleGlaTests(TestDevice device) : DeviceTests(device)
{
    private static IEnumerable<LinearCase> Cases()
    {
        var usual = new LinearCase();
        yield return usual;
        yield return usual with { HasStates = false, Scale = 0.3 };
        yield return usual with { B = 1, T = 15, K = 60, V = 100, H = 1, VFirst = true };
        yield return usual with { B = 1, T = 65, H = 1, K = 70, V = 37 };
        yield return usual with { B = 1, T = 40, H = 1, K = 128, V = 66 };
        yield return usual with { Normalizer = 0.05 };
        yield return usual with { Normalizer = 10, VFirst = true };
        yield return usual with { B = 1, T = 97, Packed = [0, 1, 17, 80, 80, 97], VFirst = true };
        yield return usual with { B = 1, T = 15, Packed = [0, 0, 15] };
        yield return usual with { Type = DType.Float16 };
        yield return usual with { Type = DType.BFloat16 };
        yield return usual with { Type = DType.Float16, GateType = DType.Float16, B = 1, T = 97, Packed = [0, 1, 17, 80, 80, 97] };
    }

    private static (string, RefTensor)[] Gates(LinearCase c) => [("g", c.G)];

    private static RefResult Expected(LinearCase c) => Reference.SimpleGla(c.Q, c.Key, c.Value, c.G, null, c.Scale, c.InitialState, c.Reverse, c.Packed, c.OutputGradient, c.FinalGradient);

    [TestCaseSource(nameof(Cases))]
    public void ChunkIsTheRecurrence(object of) => Chunk((LinearCase)of, 64);

    [TestCase(16)]
    [TestCase(32)]
    public void ChunkLengthChangesNothing(int chunk) => Chunk(new LinearCase { B = 1, T = 75, Packed = [0, 33, 75] }, chunk);

    private void Chunk(LinearCase c, int chunk) => c.Check(Device, Expected(c), Gates(c), (q, k, v, g, h0, packed) =>
        LinearOps.ChunkSimpleGla(q, k, v, g[0], null, (float?)c.Scale, h0, c.HasStates, c.VFirst, packed, chunk));

    [TestCaseSource(nameof(Cases))]
    public void RecurrentIsTheRecurrence(object of) => Recurrent((LinearCase)of);

    [TestCase(false)]
    [TestCase(true)]
    public void RecurrentRunsBackwards(bool vFirst) => Recurrent(new LinearCase { B = 1, T = 40, Packed = [0, 7, 7, 40], Reverse = true, VFirst = vFirst });

    private void Recurrent(LinearCase c) => c.Check(Device, Expected(c), Gates(c), (q, k, v, g, h0, packed) =>
        LinearOps.FusedRecurrentSimpleGla(q, k, v, g[0], null, (float?)c.Scale, h0, c.HasStates, c.Reverse, c.VFirst, packed));
}
