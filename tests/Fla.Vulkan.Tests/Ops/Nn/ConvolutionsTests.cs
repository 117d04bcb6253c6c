using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Nn;

public sealed class ConvolutionsTests(TestDevice device) : NnTests(device)
{
    private sealed record Case(int B = 2, int T = 21, int C = 12, int W = 4)
    {
        public int[]? Packed { get; init; }

        public bool HasBias { get; init; } = true;

        public bool HasResidual { get; init; } = true;

        public bool HasStates { get; init; } = true;

        public bool HasInitialState { get; init; } = true;

        public bool IsSilu { get; init; } = true;

        public DType Type { get; init; } = DType.Float32;

        public DType WeightType { get; init; } = DType.Float32;
    }

    private void Check(Case c)
    {
        var sequences = c.Packed is null ? c.B : c.Packed.Length - 1;
        RefTensor x = Normal(1, c.Type, c.B, c.T, c.C), weight = Normal(2, c.WeightType, c.C, 1, c.W), doutput = Normal(6, c.Type, c.B, c.T, c.C);
        var bias = c.HasBias ? Normal(3, c.WeightType, c.C) : null;
        var residual = c.HasResidual ? Normal(4, c.Type, c.B, c.T, c.C) : null;
        var h0 = c.HasInitialState ? Normal(5, c.Type, sequences, c.C, c.W) : null;
        var dfinal = c.HasStates ? Normal(7, c.Type, sequences, c.C, c.W) : null;
        var expected = Reference.ShortConvolution(x, weight, bias, residual, c.IsSilu ? "silu" : null, h0, c.Packed, doutput, dfinal ?? RefTensor.Zeros(sequences, c.C, c.W));

        using var cu = c.Packed is null ? null : new CuSeqlens(Device, c.Packed);
        Tensor dx = Leaf(x, c.Type), dw = Leaf(weight, c.WeightType);
        Tensor? db = OptionalLeaf(bias, c.WeightType), dr = OptionalLeaf(residual, c.Type), dh = OptionalLeaf(h0, c.Type);
        var (y, final) = Convolutions.ShortConvolution(dx, dw, db, dr, c.IsSilu ? ConvolutionActivation.Silu : ConvolutionActivation.None, dh, c.HasStates, cu);
        Assert.That(final, c.HasStates ? Is.Not.Null : Is.Null);
        (string, Tensor, RefTensor?)[] outputs = final is null ? [("o", y, doutput)] : [("o", y, doutput), ("ht", final, dfinal)];
        Check(expected, c.Type, outputs, ("x", dx), ("weight", dw), ("bias", db), ("residual", dr), ("h0", dh));
    }

    [Test]
    public void IsTheConvolution([ValueSource(nameof(FloatTypes))] DType type, [Values] bool isSilu, [Values(12, 13)] int channels) =>
        Check(new Case { C = channels, Type = type, IsSilu = isSilu, WeightType = type });

    [Test]
    public void WeightsMayHaveAnotherType() => Check(new Case { Type = DType.BFloat16, WeightType = DType.Float32 });

    [TestCase(false, false, false, false)]
    [TestCase(true, false, false, true)]
    [TestCase(false, true, true, false)]
    [TestCase(false, false, true, true)]
    public void OperandsMayBeMissing(bool hasBias, bool hasResidual, bool hasInitialState, bool hasStates) =>
        Check(new Case { HasBias = hasBias, HasResidual = hasResidual, HasInitialState = hasInitialState, HasStates = hasStates });

    [TestCase(1)]
    [TestCase(3)]
    public void OtherTaps(int taps) => Check(new Case { W = taps, C = 7 });

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    public void SequencesMayBeShorterThanTheTaps(int tokens) => Check(new Case { T = tokens, C = 5 });

    [Test]
    public void PackedSequencesDoNotMix()
    {
        foreach (var packed in Inputs.PackedBoundaries) Check(new Case { B = 1, T = packed[^1], C = 6, Packed = packed });
        Check(new Case { B = 1, T = 12, C = 6, Packed = [0, 1, 1, 3, 6, 7, 12, 12] });
        Check(new Case { B = 1, T = 12, C = 8, Packed = [0, 1, 1, 3, 6, 7, 12, 12], HasInitialState = false });
    }

    /// <summary>Large enough that an invocation has several tokens, across boundaries.</summary>
    [Test]
    public void LongRunsShareTaps([Values] bool isPacked) => Check(new Case
    {
        B = 1, T = 1030, C = 2048, Packed = isPacked ? [0, 3, 4, 500, 1030] : null,
    });

    [Test]
    public void AMaskHidesInputs()
    {
        RefTensor x = Inputs.Normal(1, 2, 9, 6), weight = Inputs.Normal(2, 6, 4), doutput = Inputs.Normal(3, 2, 9, 6);
        var keep = new RefTensor(Enumerable.Range(0, 18).Select(i => i is < 3 or 12 ? 0.0 : 1.0).ToArray(), 2, 9);
        var hidden = new RefTensor(x.Data.Select((v, i) => v * keep.Data[i / 6]).ToArray(), x.Shape);
        var expected = Reference.ShortConvolution(hidden, weight, doutput: doutput);
        Tensor dx = Leaf(x, DType.Float32), dw = Leaf(weight, DType.Float32);
        var (y, final) = Convolutions.ShortConvolution(dx, dw, outputFinalState: true, mask: Constant(keep, DType.Float32));
        Assert.That(final!.ToSingle(), Is.EqualTo(expected.FinalState.ToFloats()));
        Check(expected, DType.Float32, y, doutput, ("weight", dw));
        var visible = expected.Grad("x").Data.Select((v, i) => (float)(v * keep.Data[i / 6])).ToArray();
        ErrorRatio.AssertClose(dx.Grad!.ToSingle(), visible, 1e-4, "grad.x");
    }

    [Test]
    public void StepsAreTheConvolution([ValueSource(nameof(FloatTypes))] DType type)
    {
        const int sequences = 3, tokens = 6, channels = 10;
        RefTensor x = Normal(1, type, sequences, tokens, channels), weight = Normal(2, type, channels, 1, 4), bias = Normal(3, type, channels), residual = Normal(4, type, x.Shape);
        var h0 = Normal(5, type, sequences, channels, 4);
        var expected = Reference.ShortConvolution(x, weight, bias, residual, initialState: h0);
        Tensor all = Constant(x, type), added = Constant(residual, type), w = Constant(weight, type), b = Constant(bias, type), state = Constant(h0, type);
        Tensor now = Tensor.Empty(Device, type, sequences, 1, channels), nowAdded = Tensor.EmptyLike(now);
        Tensor? y = null;
        using var graph = Device.Stream.Capture(() => y = Convolutions.ShortConvolutionStep(now, state, w, b, nowAdded));
        var o = new float[x.Length];
        for (var t = 0; t < tokens; t++)
        {
            now.Write(Token(x, t));
            nowAdded.Write(Token(residual, t));
            graph.Replay();
            var values = y!.ToSingle();
            for (var n = 0; n < sequences; n++) Array.Copy(values, n * channels, o, ((n * tokens) + t) * channels, channels);
        }
        ErrorRatio.AssertClose(o, expected.O.ToFloats(), Tolerance(type), "o");
        Assert.That(state.ToSingle(), Is.EqualTo(expected.FinalState.ToFloats()));

        float[] Token(RefTensor from, int t) => Enumerable.Range(0, sequences)
            .SelectMany(n => from.ToFloats().AsSpan(((n * tokens) + t) * channels, channels).ToArray()).ToArray();
    }

    [Test]
    public void NoTokensAreFine()
    {
        RefTensor weight = Inputs.Normal(2, 6, 4), h0 = Inputs.Normal(3, 2, 6, 4);
        Tensor x = Tensor.Empty(Device, DType.Float32, 2, 0, 6), w = Leaf(weight, DType.Float32), state = Leaf(h0, DType.Float32);
        var (y, final) = Convolutions.ShortConvolution(x, w, initialState: state, outputFinalState: true);
        Assert.That(y.Count, Is.Zero);
        Assert.That(final!.ToSingle(), Is.EqualTo(h0.ToFloats()));
        Autograd.Backward(final, Constant(h0, DType.Float32));
        Assert.That(state.Grad!.ToSingle(), Is.EqualTo(h0.ToFloats()));
        Assert.That(w.Grad!.ToSingle(), Is.All.Zero);
    }

    [Test]
    public void WrongArgumentsAreTypedErrors()
    {
        Tensor x = Tensor.Zeros(Device, DType.Float32, 1, 5, 6), weight = Tensor.Zeros(Device, DType.Float32, 6, 1, 4), other = Tensor.Zeros(Device, DType.Float32, 5, 1, 4);
        var half = Tensor.Zeros(Device, DType.Float16, 1, 5, 6);
        using var cu = new CuSeqlens(Device, 0, 2, 5);
        Assert.That(() => Convolutions.ShortConvolution(x.View(5, 6), weight), Throws.TypeOf<ShapeException>());
        Assert.That(() => Convolutions.ShortConvolution(x, other), Throws.TypeOf<ShapeException>());
        Assert.That(() => Convolutions.ShortConvolution(x, Tensor.Zeros(Device, DType.Float32, 6, 17)), Throws.TypeOf<ShapeException>());
        Assert.That(() => Convolutions.ShortConvolution(x, weight, residual: half), Throws.TypeOf<DTypeException>());
        Assert.That(() => Convolutions.ShortConvolution(x, weight, bias: Tensor.Zeros(Device, DType.Float32, 5)), Throws.TypeOf<ShapeException>());
        Assert.That(() => Convolutions.ShortConvolution(x, weight, initialState: Tensor.Zeros(Device, DType.Float32, 1, 6, 3)), Throws.TypeOf<ShapeException>());
        Assert.That(() => Convolutions.ShortConvolution(x, weight, cuSeqlens: cu, mask: Tensor.Zeros(Device, DType.Float32, 1, 5)), Throws.TypeOf<ShapeException>());
        Assert.That(() => Convolutions.ShortConvolution(Tensor.Zeros(Device, DType.Float32, 2, 5, 6), weight, cuSeqlens: cu), Throws.TypeOf<ShapeException>());
        Assert.That(() => Convolutions.ShortConvolutionStep(x, Tensor.Zeros(Device, DType.Float32, 4, 6, 4), weight), Throws.TypeOf<ShapeException>());
        weight.RequiresGrad = true;
        Assert.That(() => Convolutions.ShortConvolutionStep(x, Tensor.Zeros(Device, DType.Float32, 5, 6, 4), weight), Throws.TypeOf<AutogradException>());
    }
}
