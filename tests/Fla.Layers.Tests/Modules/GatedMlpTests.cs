using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan;
using NUnit.Framework;

namespace Fla.Layers.Tests;

public sealed class GatedMlpTests(TestDevice device) : DeviceTests(device)
{
    [Test]
    public void MatchesItsFormula([Values("swish", "powlu")] string activation)
    {
        using var mlp = new GatedMlp(Device, 6, 10, activation);
        var weights = new Dictionary<string, RefTensor>();
        foreach (var (name, tensor) in mlp.StateDict())
        {
            var values = Inputs.Normal(weights.Count, tensor.Shape.ToArray());
            weights.Add(name, values);
            tensor.Write(values.ToFloats());
        }
        var x = Inputs.Normal(7, 2, 5, 6);
        var upstream = Inputs.Normal(8, 2, 5, 6);
        var gate = Reference.Linear(x, weights["gate_proj.weight"]).O;
        var up = Reference.Linear(x, weights["up_proj.weight"]).O;
        var expected = Reference.GatedLinear(activation == "swish" ? "swiglu" : "powglu", gate, up, weights["down_proj.weight"], doutput: upstream);
        var y = mlp.Forward(Make(x.ToFloats(), x.Shape));
        ErrorRatio.AssertClose(y.ToSingle(), expected.O.ToFloats(), 1e-5, "y");
        Autograd.Backward(y, Make(upstream.ToFloats(), upstream.Shape));
        var down = mlp.StateDict().Single(p => p.Key == "down_proj.weight").Value;
        ErrorRatio.AssertClose(down.Grad!.ToSingle(), expected.Grad("weight").ToFloats(), 1e-4, "gradient of down_proj");
        var gateGradient = Reference.Linear(x, weights["gate_proj.weight"], doutput: expected.Grad("x")).Grad("weight");
        ErrorRatio.AssertClose(mlp.StateDict().First().Value.Grad!.ToSingle(), gateGradient.ToFloats(), 1e-4, "gradient of gate_proj");
    }

    [Test]
    public void OtherActivationsAreRefused() =>
        Assert.That(() => new GatedMlp(Device, 6, 10, "relu"), Throws.ArgumentException.With.Message.Contains("relu"));
}
