using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Cli.Benchmarks;

/// <summary>The causal depthwise convolution of four taps with SiLU over [B,T,H·D]. Checked on some channels, whole sequences, in double precision, with the gradient of x.</summary>
internal sealed record ConvolutionOp() : BenchOp("short_convolution")
{
    private const int Taps = 4;

    /// <inheritdoc/>
    public override BenchCase Make(ComputeDevice device, DType type, BenchShape s)
    {
        var channels = s.H * s.D;
        Tensor x = RandomTensors.Normal(device, type, 1, 0, [s.B, s.T, channels]), w = RandomTensors.Normal(device, type, 2, 0, [channels, Taps]);
        x.RequiresGrad = w.RequiresGrad = true;
        var gradient = RandomTensors.Normal(device, type, 3, 0, x.Shape);
        double bytes = x.ByteCount;
        BenchCase made = null!;
        made = new([x, w], () => Convolutions.ShortConvolution(x, w).Y, gradient, () => Error(made, s), new(2 * bytes, 0), new(5 * bytes, 0));
        return made;
    }

    private static double Error(BenchCase made, BenchShape s)
    {
        var y = made.RunBoth();
        var w = made.Inputs[1].ToSingle();
        double worst = 0;
        foreach (var channel in new[] { 0, s.H * s.D / 2, s.H * s.D - 1 })
        {
            float[] Column(Tensor t)
            {
                using var off = Autograd.NoGrad();
                using var rows = t.View(s.B * s.T, s.H * s.D);
                using var column = Layouts.Slice(rows, 1, channel, 1);
                return column.ToSingle();
            }
            float[] x = Column(made.Inputs[0]), dy = Column(made.Gradient!), expected = new float[x.Length], dx = new float[x.Length];
            var slopes = new double[x.Length];
            for (var i = 0; i < x.Length; i++)
            {
                double sum = 0;
                for (var j = 0; j < Taps && j <= i % s.T; j++) sum += (double)w[channel * Taps + Taps - 1 - j] * x[i - j];
                var sigmoid = 1 / (1 + Math.Exp(-sum));
                expected[i] = (float)(sum * sigmoid);
                slopes[i] = dy[i] * sigmoid * (1 + sum * (1 - sigmoid));
            }
            for (var i = 0; i < x.Length; i++)
            {
                double sum = 0;
                for (var j = 0; j < Taps && i % s.T + j < s.T; j++) sum += w[channel * Taps + Taps - 1 - j] * slopes[i + j];
                dx[i] = (float)sum;
            }
            worst = Ratios.Worse(worst, Ratios.Worse(Ratios.Of(Column(y), expected), Ratios.Of(Column(made.Inputs[0].Grad!), dx)));
        }
        made.ClearGradients();
        return worst;
    }
}
