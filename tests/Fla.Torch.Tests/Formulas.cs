using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch.Tests;

/// <summary>What surrounds the recurrences, in TorchSharp's operations.</summary>
internal static class Formulas
{
    public static Tensor Rms(Tensor x, double eps = 1e-5) => x * torch.rsqrt(x.square().mean([-1], keepdim: true) + eps);

    public static Tensor Layer(Tensor x, double eps = 1e-5) => Rms(x - x.mean([-1], keepdim: true), eps);

    /// <summary>Depthwise causal convolution and SiLU.</summary>
    public static Tensor Convolve(Tensor x, Tensor kernel, Tensor? bias = null)
    {
        var padded = nn.functional.pad(x.transpose(1, 2), [kernel.shape[2] - 1, 0]);
        return nn.functional.silu(nn.functional.conv1d(padded, kernel, bias, groups: x.shape[2])).transpose(1, 2);
    }

    /// <summary>Products of [relu(x), −relu(x)] with its own rotations, as fla has it (Schlag et al. 2021 take relu(−x)).</summary>
    public static Tensor Dpfp(Tensor x, int nu)
    {
        var both = torch.cat([x.relu(), -x.relu()], -1);
        return torch.cat([.. Enumerable.Range(1, nu).Select(i => both * both.roll(i, -1))], -1);
    }

    /// <summary>Half-split rotary positions.</summary>
    public static Tensor Rotary(Tensor x)
    {
        var half = x.shape[3] / 2;
        var angles = torch.arange(x.shape[1], dtype: ScalarType.Float64).unsqueeze(-1) * torch.pow(10000.0, torch.arange(half, dtype: ScalarType.Float64) * (-2.0 / x.shape[3]));
        var (cosine, sine) = (angles.cos().unsqueeze(1), angles.sin().unsqueeze(1));
        var (a, b) = (x.narrow(-1, 0, half), x.narrow(-1, half, half));
        return torch.cat([a * cosine - b * sine, b * cosine + a * sine], -1);
    }
}
