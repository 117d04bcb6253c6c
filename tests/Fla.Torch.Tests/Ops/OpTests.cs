using System.Reflection;
using Fla.Testing;
using NUnit.Framework;
using TorchSharp;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch.Tests.Ops;

public sealed class OpTests(TestDevice device) : TorchTests(device)
{
    private static IEnumerable<OpCase> All => [.. LinearCases.All, .. DeltaCases.All, .. AttnCases.All, .. NnCases.All];

    [TestCaseSource(nameof(All))]
    public void FollowsItsDefinition(OpCase op)
    {
        var inputs = op.Make(op.HasGradients);
        var doubles = inputs.Select(Double).ToArray();
        var (actual, expected) = (op.Run(inputs), op.Reference(doubles));
        if (op.HasGradients) AssertSame(actual, expected, [.. inputs.Select((input, i) => (op.Inputs[i].Name, input, doubles[i]))], op.Tolerance);
        else
        {
            for (var i = 0; i < actual.Length; i++) AssertClose(actual[i], expected[i], op.Tolerance, $"result {i}");
        }
    }

    [Test]
    public void EveryOperatorHasACase()
    {
        var without = typeof(fla).GetMethods(BindingFlags.Public | BindingFlags.Static | BindingFlags.DeclaredOnly).Select(m => m.Name).Distinct().Except(All.Select(c => c.Name));
        Assert.That(without, Is.Empty);
    }
}
