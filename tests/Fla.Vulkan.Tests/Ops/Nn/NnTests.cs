using Fla.Testing;
using Fla.Testing.References;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

/// <summary>Base of tests that compare an operator and its gradients with a reference computed from the same rounded inputs.</summary>
public abstract class NnTests(TestDevice device) : DeviceTests(device)
{
    protected static readonly DType[] FloatTypes = [DType.Float32, DType.Float16, DType.BFloat16];

    protected static double Tolerance(DType type) => type switch { DType.Float32 => 1e-5, DType.Float16 => 5e-3, _ => 2e-2 };

    protected static double GradientTolerance(DType type) => type switch { DType.Float32 => 1e-4, DType.Float16 => 1e-2, _ => 3e-2 };

    /// <summary>Standard normal values as the type stores them.</summary>
    protected static RefTensor Normal(int seed, DType type, params int[] shape) => Round(Inputs.Normal(seed, shape), type);

    protected static RefTensor Round(RefTensor x, DType type) => type switch
    {
        DType.Float16 => x.RoundToHalf(),
        DType.BFloat16 => x.RoundToBFloat16(),
        _ => x,
    };

    /// <summary>A leaf on the device.</summary>
    protected Tensor Leaf(RefTensor x, DType type)
    {
        var tensor = Constant(x, type);
        tensor.RequiresGrad = true;
        return tensor;
    }

    protected Tensor? OptionalLeaf(RefTensor? x, DType type) => x is null ? null : Leaf(x, type);

    protected Tensor Constant(RefTensor x, DType type) => Make(x.ToFloats(), x.Shape, type);

    /// <summary>Compares an output, and after a backward pass from it the gradients of leaves, with a reference.</summary>
    protected void Check(RefResult expected, DType type, Tensor o, RefTensor? gradient, params (string Name, Tensor? Leaf)[] leaves) =>
        Check(expected, type, [("o", o, gradient)], leaves);

    /// <summary>As the other form, for several outputs; outputs whose gradient is null are not walked back from.</summary>
    protected void Check(RefResult expected, DType type, (string Name, Tensor Value, RefTensor? Gradient)[] outputs, params (string Name, Tensor? Leaf)[] leaves)
    {
        foreach (var (name, value, _) in outputs)
        {
            Assert.That(value.Shape.ToArray(), Is.EqualTo(expected.Output(name).Shape), $"shape of {name}");
            ErrorRatio.AssertClose(value.ToSingle(), expected.Output(name).ToFloats(), Tolerance(type), name);
        }
        var given = outputs.Where(x => x.Gradient != null).ToArray();
        if (given.Length == 0) return;
        var gradients = given.Select(x => (Tensor?)Constant(x.Gradient!, x.Value.DType)).ToArray();
        Autograd.Backward(given.Select(x => x.Value).ToArray(), gradients);
        foreach (var (name, leaf) in leaves)
        {
            if (leaf is null) continue;
            Assert.That(leaf.Grad, Is.Not.Null, $"gradient of {name}");
            Assert.That(leaf.Grad!.DType, Is.EqualTo(leaf.DType), $"type of the gradient of {name}");
            Assert.That(leaf.Grad.Shape.ToArray(), Is.EqualTo(leaf.Shape.ToArray()), $"shape of the gradient of {name}");
            ErrorRatio.AssertClose(leaf.Grad.ToSingle(), expected.Grad(name).ToFloats(), GradientTolerance(type), $"gradient of {name}");
        }
    }
}
