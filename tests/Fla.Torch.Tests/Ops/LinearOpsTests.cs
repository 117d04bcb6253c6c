using Fla.Testing;
using NUnit.Framework;
using static Fla.Torch.fla;

namespace Fla.Torch.Tests.Ops;

public sealed class LinearOpsTests(TestDevice device) : TorchTests(device)
{
    [Test]
    public void ChunkGlaFollowsItsRecurrence()
    {
        var (q, k, v, g, s) = (Leaf(2, 21, 2, 16), Leaf(2, 21, 2, 16), Leaf(2, 21, 2, 24), Gate(2, 21, 2, 16), Leaf(2, 2, 16, 24));
        var (qd, kd, vd, gd, sd) = (Double(q), Double(k), Double(v), Double(g), Double(s));
        var (o, state) = chunk_gla(q, k, v, g, initial_state: s, output_final_state: true);
        var (od, stated) = Recurrences.Linear(qd, kd, vd, gd, initial: sd);
        AssertSame([o, state!], [od, stated], [("q", q, qd), ("k", k, kd), ("v", v, vd), ("g", g, gd), ("initial_state", s, sd)]);
    }
}
