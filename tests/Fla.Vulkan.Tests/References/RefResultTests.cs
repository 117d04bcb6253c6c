using Fla.Testing.References;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.References;

[TestFixture]
public sealed class RefResultTests
{
    private static RefResult Result => Reference.Softmax(Inputs.Normal(1, 2, 3), Inputs.Normal(2, 2, 3));

    [Test]
    public void AssertClose_PassesEqualResults() => Result.AssertClose(Floats(), 1e-6, 1e-6);

    [Test]
    public void AssertClose_FailsForAWrongMissingOrUnknownResult()
    {
        Dictionary<string, float[]> wrong = Floats(), missing = Floats(), unknown = Floats();
        wrong["grad.x"][1] += 0.01f;
        missing.Remove("grad.x");
        unknown.Add("grad.y", [0]);
        foreach (Dictionary<string, float[]> actual in new[] { wrong, missing, unknown })
        {
            using (new NUnit.Framework.Internal.TestExecutionContext.IsolatedContext())
            {
                Assert.That(() => Result.AssertClose(actual, 1e-6, 1e-6), Throws.InstanceOf<ResultStateException>());
            }
        }
    }

    [Test]
    public void UnknownNames_AreErrors()
    {
        Assert.That(() => Result.Grad("y"), Throws.InstanceOf<KeyNotFoundException>());
        Assert.That(() => Result.Output("ht"), Throws.InstanceOf<KeyNotFoundException>());
    }

    private static Dictionary<string, float[]> Floats() => Result.All.ToDictionary(x => x.Name, x => x.Value.ToFloats());
}
