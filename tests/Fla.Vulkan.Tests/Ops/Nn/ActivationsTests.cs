using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class ActivationsTests(TestDevice device) : NnTests(device)
{
    private static readonly string[] Names = ["relu", "sigmoid", "logsigmoid", "silu", "swish", "sqrelu", "gelu"];

    [Test]
    public void ActivationsOfEveryName([ValueSource(nameof(Names))] string name, [ValueSource(nameof(FloatTypes))] DType type)
    {
        var x = Round(Inputs.Normal(1, 7, 37).Map(v => 3 * v), type);
        var dy = Normal(2, type, 7, 37);
        var leaf = Leaf(x, type);
        Check(Reference.Activation(name, x, doutput: dy), type, Activations.Apply(name, leaf), dy, ("x", leaf));
    }

    [Test]
    public void LogSigmoidIsDividedByTheTemperature([ValueSource(nameof(FloatTypes))] DType type)
    {
        RefTensor x = Normal(3, type, 5, 8), dy = Normal(4, type, 5, 8);
        var leaf = Leaf(x, type);
        Check(Reference.Activation("logsigmoid", x, 16, dy), type, Activations.LogSigmoid(leaf, 16), dy, ("x", leaf));
        Assert.That(() => Activations.LogSigmoid(leaf, 0), Throws.TypeOf<ShapeException>());
    }

    [Test]
    public void ExtremesStayFinite()
    {
        var x = Make([-200, -30, -1e-8f, 0, 1e-8f, 30, 200], [7]);
        Assert.Multiple(() =>
        {
            Assert.That(Activations.Silu(x).ToSingle(), Is.EqualTo(new float[] { 0, -30 * (float)Math.Exp(-30), -5e-9f, 0, 5e-9f, 30, 200 }).Within(1e-3).Percent);
            Assert.That(Activations.LogSigmoid(x).ToSingle()[5], Is.EqualTo(-Math.Exp(-30)).Within(1e-3).Percent);
            Assert.That(Activations.LogSigmoid(x).ToSingle()[0], Is.EqualTo(-200));
            Assert.That(Activations.Tanh(x).ToSingle(), Is.EqualTo(new float[] { -1, -1, -1e-8f, 0, 1e-8f, 1, 1 }).Within(1e-3).Percent);
            Assert.That(Activations.Gelu(x).ToSingle(), Is.All.Matches<float>(float.IsFinite));
        });
    }

    [Test]
    public void GatedLinearUnits([Values("swiglu", "sigmoidglu", "powglu")] string name, [ValueSource(nameof(FloatTypes))] DType type, [Values(48, 37)] int width)
    {
        RefTensor x = Round(Inputs.Normal(5, 3, width).Map(v => 2 * v), type), y = Normal(6, type, 3, width), dy = Normal(7, type, 3, width);
        Tensor a = Leaf(x, type), b = Leaf(y, type);
        var o = name switch { "swiglu" => Activations.SwiGlu(a, b), "sigmoidglu" => Activations.SigmoidGlu(a, b), _ => Activations.PowGlu(a, b) };
        Check(Reference.GatedActivation(name, x, y, doutput: dy), type, o, dy, ("x", a), ("y", b));
    }

    [Test]
    public void BiasGeluWithItsBiasGradient([ValueSource(nameof(FloatTypes))] DType type, [Values(16, 33)] int width)
    {
        RefTensor y = Normal(8, type, 5, 3, width), b = Normal(9, DType.Float32, width), dy = Normal(10, type, 5, 3, width);
        Tensor x = Leaf(y, type), bias = Leaf(b, DType.Float32);
        Check(Reference.BiasGelu(y, b, dy), type, Activations.BiasGelu(x, bias), dy, ("y", x), ("b", bias));
    }

    [Test]
    public void EluPlusOneOfEveryType([ValueSource(nameof(FloatTypes))] DType type)
    {
        RefTensor x = Normal(11, type, 5, 9), dy = Normal(12, type, 5, 9);
        var leaf = Leaf(x, type);
        Check(Reference.EluPlusOne(x, dy), type, Activations.EluPlusOne(leaf), dy, ("x", leaf));
    }

    [Test]
    public void SoftplusAndTanhHaveTheirSlopes([Values("softplus", "tanh")] string name)
    {
        var x = Inputs.Normal(13, 40);
        var leaf = Leaf(x, DType.Float32);
        var o = name == "tanh" ? Activations.Tanh(leaf) : Activations.Softplus(leaf);
        ErrorRatio.AssertClose(o.ToSingle(), x.Map(v => name == "tanh" ? Math.Tanh(v) : Math.Log(1 + Math.Exp(v))).ToFloats(), 1e-5, name);
        Autograd.Backward(o, Tensor.Full(Device, DType.Float32, 1, 40));
        var slope = x.Map(v => name == "tanh" ? 1 - (Math.Tanh(v) * Math.Tanh(v)) : 1 / (1 + Math.Exp(-v)));
        ErrorRatio.AssertClose(leaf.Grad!.ToSingle(), slope.ToFloats(), 1e-5, "slope");
    }

    [Test]
    public void WrongUseIsATypedError()
    {
        Assert.That(() => Activations.Apply("mish", Make([1], [1])), Throws.ArgumentException);
        Assert.That(() => Activations.SwiGlu(Make([1, 2], [2]), Make([1], [1])), Throws.TypeOf<ShapeException>());
        Assert.That(() => Activations.BiasGelu(Make([1, 2], [1, 2]), Make([1], [1])), Throws.TypeOf<ShapeException>());
        Assert.That(() => Activations.Silu(Tensor.FromInt32(Device, [1], 1)), Throws.TypeOf<DTypeException>());
    }
}
