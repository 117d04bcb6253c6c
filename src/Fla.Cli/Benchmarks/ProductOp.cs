using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Cli.Benchmarks;

/// <summary>A matrix product x Wᵀ, forward and with both gradients. T counts rows, H·D is read as [H, D] = [outputs, inputs]. Checked entry by entry on a sample.</summary>
internal sealed record ProductOp() : BenchOp("linear")
{
    private const int Sampled = 256;

    /// <inheritdoc/>
    public override BenchShape[] Shapes(bool isCpu) => isCpu ? [new(1, 256, 256, 256)] : [new(1, 4096, 4096, 4096), new(1, 8192, 2048, 2048), new(1, 8192, 8192, 8192), new(1, 1, 4096, 4096)];

    /// <inheritdoc/>
    public override BenchCase Make(ComputeDevice device, DType type, BenchShape s)
    {
        var rows = s.B * s.T;
        Tensor x = RandomTensors.Normal(device, type, 1, 0, [rows, s.D]), w = RandomTensors.Normal(device, type, 2, 0, [s.H, s.D]);
        x.RequiresGrad = w.RequiresGrad = true;
        var gradient = RandomTensors.Normal(device, type, 3, 0, [rows, s.H]);
        double bytes = x.ByteCount + w.ByteCount, flops = 2.0 * rows * s.H * s.D;
        BenchCase made = null!;
        made = new([x, w], () => Products.Linear(x, w), gradient, () => Error(made, rows, s), new(bytes + gradient.ByteCount, flops), new(4 * bytes + 3 * gradient.ByteCount, 3 * flops));
        return made;
    }

    private static double Error(BenchCase made, int rows, BenchShape s)
    {
        var y = made.RunBoth().ToSingle();
        float[] x = made.Inputs[0].ToSingle(), w = made.Inputs[1].ToSingle(), dy = made.Gradient!.ToSingle(), dx = made.Inputs[0].Grad!.ToSingle(), dw = made.Inputs[1].Grad!.ToSingle();
        made.ClearGradients();
        var worst = Sample(rows, s.H, s.D, y, (r, c, k) => (double)x[(long)r * s.D + k] * w[(long)c * s.D + k]);
        worst = Ratios.Worse(worst, Sample(rows, s.D, s.H, dx, (r, c, k) => (double)dy[(long)r * s.H + k] * w[(long)k * s.D + c]));
        return Ratios.Worse(worst, Sample(s.H, s.D, rows, dw, (r, c, k) => (double)dy[(long)k * s.H + r] * x[(long)k * s.D + c]));
    }

    private static double Sample(int m, int n, int k, float[] actual, Func<int, int, int, double> term)
    {
        var random = new Random(7);
        var (got, wanted) = (new float[Sampled], new float[Sampled]);
        for (var i = 0; i < Sampled; i++)
        {
            var (r, c) = i == 0 ? (m - 1, n - 1) : (random.Next(m), random.Next(n));
            double sum = 0;
            for (var j = 0; j < k; j++) sum += term(r, c, j);
            (got[i], wanted[i]) = (actual[(long)r * n + c], (float)sum);
        }
        return Ratios.Of(got, wanted);
    }
}

/// <summary>Loss of the language-model head with its gradients, logits never held at once. T counts tokens, H the vocabulary, D the width. Checked against whole fp32 logits.</summary>
internal sealed record HeadLossOp() : BenchOp("fused_linear_cross_entropy")
{
    /// <inheritdoc/>
    public override BenchShape[] Shapes(bool isCpu) => isCpu ? [new(1, 128, 256, 64)] : [new(1, 16384, 32000, 2048)];

    /// <inheritdoc/>
    public override BenchCase Make(ComputeDevice device, DType type, BenchShape s)
    {
        var tokens = s.B * s.T;
        Tensor x = RandomTensors.Normal(device, type, 1, 0, [tokens, s.D]), w = RandomTensors.Normal(device, type, 2, 0, [s.H, s.D], 1 / MathF.Sqrt(s.D));
        x.RequiresGrad = w.RequiresGrad = true;
        var random = new Random(5);
        var labels = Tensor.FromInt32(device, Enumerable.Range(0, tokens).Select(_ => random.Next(s.H)).ToArray(), tokens);
        var gradient = Tensor.Full(device, DType.Float32, 1);
        double bytes = x.ByteCount + w.ByteCount, flops = 2.0 * tokens * s.H * s.D;
        BenchCase made = null!;
        made = new([x, w], () => FusedLinearLosses.CrossEntropy(x, labels, w), gradient, () => Error(made, labels), new(bytes, flops), new(3 * bytes, 3 * flops));
        return made;
    }

    private static double Error(BenchCase made, Tensor labels)
    {
        var loss = made.RunBoth().ToSingle();
        Tensor[] parts;
        using (Autograd.NoGrad()) parts = made.Inputs.Select(i => i.To(DType.Float32)).ToArray();
        foreach (var part in parts) part.RequiresGrad = true;
        var expected = Losses.CrossEntropy(Products.Linear(parts[0], parts[1]), labels);
        Autograd.Backward(expected, made.Gradient!);
        var worst = Ratios.Of(loss, expected.ToSingle());
        for (var i = 0; i < parts.Length; i++) worst = Ratios.Worse(worst, Ratios.Of(made.Inputs[i].Grad!.ToSingle(), parts[i].Grad!.ToSingle()));
        made.ClearGradients();
        return worst;
    }
}
