using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class ElementwiseTests(TestDevice device) : NnTests(device)
{
    private static readonly int[][] SecondShapes = [[2, 5, 4, 8], [8], [4, 8], [4, 1], [2, 5, 4, 1], [2, 1, 1, 1], [1], [5, 1, 1]];

    [Test]
    public void SecondOperandSpreads([ValueSource(nameof(SecondShapes))] int[] shape, [ValueSource(nameof(FloatTypes))] DType type)
    {
        int[] full = [2, 5, 4, 8];
        RefTensor x = Normal(1, type, full), z = Round(Inputs.Uniform(2, 0.5, 2, shape), type), dy = Normal(3, type, full);
        var at = Positions(full, shape);
        foreach (var name in new[] { "add", "mul", "div" })
        {
            Tensor a = Leaf(x, type), b = Leaf(z, type);
            var o = name switch { "add" => Elementwise.Add(a, b, 2, -3), "mul" => Elementwise.Mul(a, b), _ => Elementwise.Div(a, b) };
            double Value(double u, double v) => name switch { "add" => (2 * u) - (3 * v), "mul" => u * v, _ => u / v };
            (double, double) Slopes(double u, double v) => name switch { "add" => (2, -3), "mul" => (v, u), _ => (1 / v, -u / (v * v)) };
            double[] y = new double[x.Length], dx = new double[x.Length], dz = new double[z.Length];
            for (var i = 0; i < y.Length; i++)
            {
                y[i] = Value(x.Data[i], z.Data[at[i]]);
                var (u, v) = Slopes(x.Data[i], z.Data[at[i]]);
                dx[i] = u * dy.Data[i];
                dz[at[i]] += v * dy.Data[i];
            }
            ErrorRatio.AssertClose(o.ToSingle(), new RefTensor(y, full).ToFloats(), Tolerance(type), name);
            Autograd.Backward(o, Constant(dy, type));
            ErrorRatio.AssertClose(a.Grad!.ToSingle(), new RefTensor(dx, full).ToFloats(), GradientTolerance(type), name + " dx");
            ErrorRatio.AssertClose(b.Grad!.ToSingle(), new RefTensor(dz, shape).ToFloats(), GradientTolerance(type), name + " dz");
            Assert.That(b.Grad.Shape.ToArray(), Is.EqualTo(shape));
        }
    }

    [Test]
    public void AffineExpAndClamp([ValueSource(nameof(FloatTypes))] DType type)
    {
        RefTensor x = Normal(4, type, 3, 7), dy = Normal(5, type, 3, 7);
        var cases = new (string Name, Func<Tensor, Tensor> Run, Func<double, double> F, Func<double, double> Slope)[]
        {
            ("affine", t => Elementwise.Affine(t, -2, 0.5f), v => (-2 * v) + 0.5, _ => -2),
            ("exp", Elementwise.Exp, Math.Exp, Math.Exp),
            ("clamp", t => Elementwise.ClampMin(t, -0.25f), v => Math.Max(v, -0.25), v => v >= -0.25 ? 1 : 0),
        };
        foreach (var (name, run, f, slope) in cases)
        {
            var leaf = Leaf(x, type);
            var o = run(leaf);
            ErrorRatio.AssertClose(o.ToSingle(), x.Map(f).ToFloats(), Tolerance(type), name);
            Autograd.Backward(o, Constant(dy, type));
            var expected = new RefTensor(x.Data.Zip(dy.Data, (v, d) => d * slope(v)).ToArray(), 3, 7);
            ErrorRatio.AssertClose(leaf.Grad!.ToSingle(), expected.ToFloats(), GradientTolerance(type), name + " dx");
        }
    }

    [Test]
    public void MixedTypesAndUnalignedRowsWork()
    {
        var x = Normal(6, DType.BFloat16, 5, 5);
        var rows = Constant(x, DType.BFloat16).Narrow(1, 3);
        var z = Make([1, 2, 3, 4, 5], [5]);
        var expected = x.Data.Skip(5).Take(15).Select((v, i) => (float)(v * (1 + (i % 5)))).ToArray();
        ErrorRatio.AssertClose(Elementwise.Mul(rows, z).ToSingle(), expected, 5e-3, "mul");
    }

    [Test]
    public void LargeAndEmptyTensors()
    {
        const int n = 1_000_003;
        var y = Elementwise.Affine(Tensor.Full(Device, DType.Float32, 3, n), 2, 1).ToSingle();
        Assert.That(y, Is.All.EqualTo(7));
        Assert.That(Elementwise.Exp(Tensor.Empty(Device, DType.Float32, 0, 4)).Count, Is.Zero);
    }

    [Test]
    public void WrongShapesAreTypedErrors()
    {
        var x = Make(new float[24], [2, 3, 4]);
        foreach (var shape in new int[][] { [3], [2, 4], [2, 3, 4, 1], [2, 1, 4] })
        {
            Assert.That(() => Elementwise.Add(x, Make(new float[shape.Aggregate(1, (a, b) => a * b)], shape)), Throws.TypeOf<ShapeException>(), string.Join(",", shape));
        }
        Assert.That(() => Elementwise.Mul(x, Tensor.FromInt32(Device, [1], 1)), Throws.TypeOf<DTypeException>());
    }

    /// <summary>The element of the second operand for each of the first.</summary>
    private static int[] Positions(int[] full, int[] shape)
    {
        var padded = Enumerable.Repeat(1, full.Length - shape.Length).Concat(shape).ToArray();
        var result = new int[full.Aggregate(1, (a, b) => a * b)];
        for (var i = 0; i < result.Length; i++)
        {
            int rest = i, stride = 1;
            for (var axis = full.Length - 1; axis >= 0; axis--)
            {
                if (padded[axis] > 1) result[i] += rest % full[axis] * stride;
                rest /= full[axis];
                stride *= padded[axis];
            }
        }
        return result;
    }
}
