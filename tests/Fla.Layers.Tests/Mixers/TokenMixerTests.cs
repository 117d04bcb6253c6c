using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Layers.Tests;

/// <summary>What holds for every token mixer: its forms agree, and packing, padding, chunked prompts and decoding give what one pass over each sequence gives.</summary>
public sealed class TokenMixerTests(TestDevice device) : DeviceTests(device)
{
    private const int Hidden = 32;
    private const int Length = 70;
    private const double Tolerance = 2e-5;
    private const double GradientTolerance = 1e-4;

    private static IReadOnlyList<MixerCase> Cases => MixerCase.All;

    private static IEnumerable<MixerCase> Packable => MixerCase.All.Where(c => c.IsPackable);

    [Test]
    public void FormsAgree([ValueSource(nameof(Cases))] MixerCase c)
    {
        using var layer = c.Build(Device);
        var expected = Run(layer, AttnMode.FusedRecurrent);
        foreach (var mode in new[] { AttnMode.Chunk, AttnMode.FusedChunk })
        {
            foreach (var (name, values) in Run(layer, mode))
            {
                ErrorRatio.AssertClose(values, expected[name], name == "o" ? Tolerance : GradientTolerance, $"{mode} {name}");
            }
        }
    }

    [Test]
    public void ShortInputsTakeTheRecurrentForm()
    {
        using var layer = MixerCase.All[0].Build(Device);
        using var noGrad = Autograd.NoGrad();
        var x = Input(1, AttnModes.RecurrentLength);
        var own = layer.Forward(x).ToSingle();
        Assert.That(own, Is.EqualTo(layer.Forward(x, new() { Mode = AttnMode.FusedRecurrent }).ToSingle()));
        Assert.That(own, Is.Not.EqualTo(layer.Forward(x, new() { Mode = AttnMode.Chunk }).ToSingle()), "the forms round differently");
        var longer = Input(1, AttnModes.RecurrentLength + 1);
        Assert.That(layer.Forward(longer).ToSingle(), Is.EqualTo(layer.Forward(longer, new() { Mode = AttnMode.Chunk }).ToSingle()));
    }

    [Test]
    public void PromptInPartsAndStepsIsTheWhole([ValueSource(nameof(Cases))] MixerCase c, [Values] bool recordsGradients)
    {
        using var layer = c.Build(Device);
        using var mode = recordsGradients ? Autograd.EnableGrad() : Autograd.NoGrad();
        var x = Input(2, Length);
        var whole = layer.Forward(x).ToSingle();
        using var cache = new LayerCache();
        var parts = new List<float[]>();
        int[] sizes = [37, 29, 1, 2, 1];
        var start = 0;
        foreach (var size in sizes)
        {
            parts.Add(layer.Forward(Part(x, start, size), new() { Cache = cache }).ToSingle());
            start += size;
        }
        Assert.That(cache.SeenTokens, Is.EqualTo(Length));
        ErrorRatio.AssertClose(Join(parts, sizes), whole, Tolerance, "o");
    }

    [Test]
    public void PackedSequencesStandAlone([ValueSource(nameof(Packable))] MixerCase c,
        [Values(null, AttnMode.Chunk, AttnMode.FusedRecurrent, AttnMode.FusedChunk)] AttnMode? mode)
    {
        using var layer = c.Build(Device);
        using var noGrad = Autograd.NoGrad();
        int[] boundaries = [0, 1, 20, 20, 70];
        var x = Input(1, Length);
        using var cuSeqlens = new CuSeqlens(Device, boundaries);
        var packed = layer.Forward(x, new() { CuSeqlens = cuSeqlens, Mode = mode }).ToSingle();
        var alone = new List<float>();
        for (var i = 0; i + 1 < boundaries.Length; i++)
        {
            var length = boundaries[i + 1] - boundaries[i];
            if (length > 0) alone.AddRange(layer.Forward(Part(x, boundaries[i], length), new() { Mode = mode }).ToSingle());
        }
        ErrorRatio.AssertClose(packed, alone.ToArray(), Tolerance, "o");
    }

    [Test]
    public void LinearAttentionRunsOverPackedSequencesAsOne()
    {
        using var layer = MixerCase.All.First(c => !c.IsPackable).Build(Device);
        using var noGrad = Autograd.NoGrad();
        var x = Input(1, 20);
        using var cuSeqlens = new CuSeqlens(Device, 0, 7, 20);
        Assert.That(layer.Forward(x, new() { CuSeqlens = cuSeqlens }).ToSingle(), Is.EqualTo(layer.Forward(x).ToSingle()));
    }

    [Test]
    public void PaddedRowsAreTheRowsAlone([ValueSource(nameof(Cases))] MixerCase c)
    {
        using var layer = c.Build(Device);
        int[] lengths = [70, 3, 41];
        var x = Input(lengths.Length, Length);
        x.RequiresGrad = true;
        using var mask = PaddingMask.Left(Device, lengths);
        var weights = Input(lengths.Length, Length, seed: 9);
        var o = layer.Forward(x, new() { Mask = mask });
        using var only = mask.Window(Length)!.Mask(weights);
        Autograd.Backward(o, only);
        var (actual, gradient) = (o.ToSingle(), x.Grad!.ToSingle());
        var parameters = layer.NamedParameters().ToDictionary(p => p.Key, p => p.Value.Grad!.ToSingle());
        layer.ClearGradients();
        for (var row = 0; row < lengths.Length; row++)
        {
            var alone = Rows(x, row, lengths[row]);
            alone.RequiresGrad = true;
            var expected = layer.Forward(alone);
            Autograd.Backward(expected, Rows(weights, row, lengths[row]));
            var from = ((row * Length) + Length - lengths[row]) * Hidden;
            var to = (row + 1) * Length * Hidden;
            ErrorRatio.AssertClose(actual.AsSpan(from..to), expected.ToSingle(), Tolerance, $"o of row {row}");
            ErrorRatio.AssertClose(gradient.AsSpan(from..to), alone.Grad!.ToSingle(), GradientTolerance, $"gradient of row {row}");
            Assert.That(gradient[(row * Length * Hidden)..from], Is.All.EqualTo(0).Within(1e-7 * gradient.Max(Math.Abs)), "padding receives no gradient");
        }
        foreach (var (name, parameter) in layer.NamedParameters()) ErrorRatio.AssertClose(parameters[name], parameter.Grad!.ToSingle(), GradientTolerance, name);
    }

    [Test]
    public void PaddedPromptsDecodeAsTheRowsAlone([ValueSource(nameof(Cases))] MixerCase c)
    {
        using var layer = c.Build(Device);
        using var noGrad = Autograd.NoGrad();
        int[] lengths = [30, 5];
        var x = Input(2, 30);
        using var cache = new LayerCache();
        using var mask = PaddingMask.Left(Device, lengths);
        layer.Forward(x, new() { Cache = cache, Mask = mask }).Dispose();
        var step = Input(2, 1, seed: 4);
        using var longerMask = PaddingMask.Left(Device, [31, 6]);
        var actual = layer.Forward(step, new() { Cache = cache, Mask = longerMask }).ToSingle();
        for (var row = 0; row < 2; row++)
        {
            using var own = new LayerCache();
            layer.Forward(Rows(x, row, lengths[row]), new() { Cache = own }).Dispose();
            var expected = layer.Forward(Rows(step, row, 1), new() { Cache = own }).ToSingle();
            ErrorRatio.AssertClose(actual.AsSpan(row * Hidden, Hidden), expected, Tolerance, $"row {row}");
        }
    }

    [Test]
    public void HalfPrecisionIsClose([ValueSource(nameof(Cases))] MixerCase c, [Values(DType.Float16, DType.BFloat16)] DType type)
    {
        using var half = c.Build(Device, type);
        using var full = c.Build(Device);
        foreach (var (target, source) in full.Parameters().Zip(half.Parameters())) target.CopyFrom(source);
        using var noGrad = Autograd.NoGrad();
        var x = Input(2, Length).To(type);
        ErrorRatio.AssertClose(half.Forward(x).ToSingle(), full.Forward(x.To(DType.Float32)).ToSingle(), type == DType.Float16 ? 5e-3 : 2e-2, "o");
    }

    [Test]
    public void WrongInputsAreRefused([ValueSource(nameof(Cases))] MixerCase c)
    {
        using var layer = c.Build(Device);
        var x = Input(2, 6);
        Assert.That(() => layer.Forward(Tensor.Zeros(Device, DType.Float32, 2, 6, Hidden + 1)), Throws.TypeOf<ShapeException>());
        Assert.That(() => layer.Forward(Tensor.Zeros(Device, DType.Float32, 6, Hidden)), Throws.TypeOf<ShapeException>());
        Assert.That(() => layer.Forward(Tensor.Zeros(Device, DType.Float32, 2, 0, Hidden)), Throws.TypeOf<ShapeException>());
        Assert.That(() => layer.Forward(Tensor.Zeros(Device, DType.Float16, 2, 6, Hidden)), Throws.TypeOf<DTypeException>());
        using var cuSeqlens = new CuSeqlens(Device, 0, 6);
        Assert.That(() => layer.Forward(x, new() { CuSeqlens = cuSeqlens }), Throws.TypeOf<ShapeException>(), "two rows cannot be packed");
        using var rows = PaddingMask.Left(Device, [6, 6, 6]);
        Assert.That(() => layer.Forward(x, new() { Mask = rows }), Throws.TypeOf<ShapeException>());
        using var columns = PaddingMask.Left(Device, [5, 5]);
        Assert.That(() => layer.Forward(x, new() { Mask = columns }), Throws.TypeOf<ShapeException>());
        using var cache = new LayerCache();
        layer.Forward(x, new() { Cache = cache }).Dispose();
        Assert.That(() => layer.Forward(Input(3, 6), new() { Cache = cache }), Throws.TypeOf<ShapeException>().With.Message.Contains("2 sequences"));
    }

    [Test]
    public void WrongOptionsAreRefused()
    {
        Assert.That(() => new GatedLinearAttention(Device, new() { HiddenSize = 32, NumHeads = 3 }), Throws.TypeOf<ShapeException>());
        Assert.That(() => new GatedLinearAttention(Device, new() { HiddenSize = 32, NumHeads = 2, NumKvHeads = 3 }), Throws.TypeOf<ShapeException>());
        Assert.That(() => new MultiScaleRetention(Device, new() { HiddenSize = 32, NumHeads = 2, Mode = "fast" }), Throws.ArgumentException);
        Assert.That(() => new LinearAttention(Device, new() { HiddenSize = 32, NumHeads = 2, FeatureMap = "cosine" }), Throws.ArgumentException.With.Message.Contains("cosine"));
        Assert.That(() => new LinearAttention(Device, new() { HiddenSize = 32, NumHeads = 2, FeatureMap = null }), Throws.ArgumentException);
        Assert.That(() => new SimpleGatedLinearAttention(Device, new() { HiddenSize = 32, NumHeads = 2, UseOutputGate = false }), Throws.ArgumentException);
        Assert.That(() => new DeltaNet(Device, new() { HiddenSize = 32, NumHeads = 2, QkNorm = "l1" }), Throws.ArgumentException.With.Message.Contains("l1"));
        Assert.That(() => new DeltaNet(Device, new() { HiddenSize = 32, NumHeads = 2, QkActivation = "gelu" }), Throws.ArgumentException.With.Message.Contains("gelu"));
        Assert.That(() => new GatedDeltaNet(Device, new() { HiddenSize = 32, NumHeads = 2, NumVHeads = 3 }), Throws.TypeOf<ShapeException>());
        Assert.That(() => new GatedDeltaNet(Device, new() { HiddenSize = 32, HeadDim = 3, ExpandV = 0.5 }), Throws.TypeOf<ShapeException>());
        Assert.That(() => new GatedDeltaProduct(Device, new() { HiddenSize = 32, NumHouseholder = 0 }), Throws.TypeOf<ShapeException>());
        Assert.That(() => new KimiDeltaAttention(Device, new() { HiddenSize = 32, SafeGate = true }), Throws.ArgumentException);
        Assert.That(() => new KimiDeltaAttention(Device, new() { HiddenSize = 32, LowerBound = 1 }), Throws.ArgumentException);
        Assert.That(() => new GatedDeltaNet2(Device, new() { HiddenSize = 32, GateLowerBound = -6 }), Throws.ArgumentException);
        Assert.That(() => new Rwkv7Attention(Device, new() { HiddenSize = 32, HeadDim = 12 }), Throws.TypeOf<ShapeException>());
        Assert.That(() => new Rwkv7Attention(Device, new() { HiddenSize = 32, HeadDim = null }), Throws.TypeOf<ShapeException>());
    }

    private Dictionary<string, float[]> Run(TokenMixer layer, AttnMode mode)
    {
        var x = Input(2, Length);
        x.RequiresGrad = true;
        float[] inference;
        using (Autograd.NoGrad()) inference = layer.Forward(x, new() { Mode = mode }).ToSingle();
        var o = layer.Forward(x, new() { Mode = mode });
        Autograd.Backward(o, Input(2, Length, seed: 5));
        var result = layer.NamedParameters().ToDictionary(p => "grad." + p.Key, p => p.Value.Grad!.ToSingle());
        result.Add("o", inference);
        ErrorRatio.AssertClose(o.ToSingle(), inference, Tolerance, $"{mode} o with gradients");
        result.Add("grad.x", x.Grad!.ToSingle());
        layer.ClearGradients();
        return result;
    }

    private Tensor Input(int rows, int length, int seed = 1) => Make(Inputs.Normal(seed, rows, length, Hidden).ToFloats(), [rows, length, Hidden]);

    /// <summary>Some columns of [B, T, D].</summary>
    private Tensor Part(Tensor x, int start, int length)
    {
        var values = x.ToSingle();
        var rows = x.Size(0);
        var part = new float[rows * length * Hidden];
        for (var row = 0; row < rows; row++)
        {
            values.AsSpan(((row * x.Size(1)) + start) * Hidden, length * Hidden).CopyTo(part.AsSpan(row * length * Hidden));
        }
        return Make(part, [rows, length, Hidden]);
    }

    /// <summary>The last columns of one row.</summary>
    private Tensor Rows(Tensor x, int row, int length) =>
        Make(x.ToSingle()[((((row + 1) * x.Size(1)) - length) * Hidden)..((row + 1) * x.Size(1) * Hidden)], [1, length, Hidden]);

    /// <summary>Columns of two rows put together again.</summary>
    private static float[] Join(List<float[]> parts, int[] sizes)
    {
        var rows = Enumerable.Range(0, 2).Select(row => parts.Zip(sizes).SelectMany(p => p.First.Skip(row * p.Second * Hidden).Take(p.Second * Hidden)));
        return [.. rows.SelectMany(row => row)];
    }
}
