using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan;
using NUnit.Framework;

namespace Fla.Layers.Tests;

/// <summary>Each feature map against its formula in float64, with gradients.</summary>
public sealed class FeatureMapTests(TestDevice device) : DeviceTests(device)
{
    private const int K = 6;

    [Test]
    public void MapsMatchTheirFormulas([Values("hedgehog", "t2r", "elementwise_product", "dpfp", "elu", "relu")] string name)
    {
        using var map = FeatureMap.Create(name, Device, K, DType.Float32);
        var x = Inputs.Normal(1, 2, 5, 3, K);
        var parameters = new Dictionary<string, RefTensor>();
        foreach (var (key, tensor) in map.StateDict())
        {
            var values = Inputs.Normal(2 + parameters.Count, tensor.Shape.ToArray());
            parameters.Add(key, values);
            tensor.Write(values.ToFloats());
        }
        var upstream = Inputs.Normal(9, 2, 5, 3, map.Width);
        var expected = Expected(name, x, parameters, upstream);
        var onDevice = Make(x.ToFloats(), x.Shape);
        onDevice.RequiresGrad = true;
        var y = map.Forward(onDevice);
        Assert.That(y.Shape.ToArray(), Is.EqualTo(new[] { 2, 5, 3, map.Width }));
        ErrorRatio.AssertClose(y.ToSingle(), expected.O.ToFloats(), 1e-5, "y");
        Autograd.Backward(y, Make(upstream.ToFloats(), upstream.Shape));
        ErrorRatio.AssertClose(onDevice.Grad!.ToSingle(), expected.Grad("x").ToFloats(), 1e-4, "gradient of x");
    }

    [Test]
    public void TheIdentityIsOne()
    {
        using var map = FeatureMap.Create("identity", Device, K, DType.Float32);
        var x = Make(Inputs.Normal(1, 2, K).ToFloats(), [2, K]);
        Assert.That(map.Forward(x).ToSingle(), Is.EqualTo(x.ToSingle()));
        Assert.That(map.Width, Is.EqualTo(K));
    }

    [Test]
    public void UnknownMapsAreNamed() =>
        Assert.That(() => FeatureMap.Create("cosine", Device, K, DType.Float32), Throws.ArgumentException.With.Message.Contains("cosine"));

    private static RefResult Expected(string name, RefTensor x, Dictionary<string, RefTensor> p, RefTensor upstream) => name switch
    {
        "hedgehog" => Reference.Hedgehog(x, p["layer.weight"], p["layer.bias"], upstream),
        "t2r" => Reference.T2R(x, p["layer.weight"], null, upstream),
        "elementwise_product" => Reference.Hadamard(x, p["layer1.weight"], p["layer1.bias"], p["layer2.weight"], p["layer2.bias"], upstream),
        "dpfp" => Reference.Dpfp(x, 4, upstream),
        "elu" => Reference.EluPlusOne(x, upstream),
        "relu" => Reference.Activation("relu", x, doutput: upstream),
        _ => throw new ArgumentOutOfRangeException(nameof(name)),
    };
}
