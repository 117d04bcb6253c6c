using Fla.Vulkan.Ops;
using TorchSharp;
using static Fla.Torch.fla;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch.Tests.Ops;

/// <summary>Losses, norms and what else surrounds the recurrences.</summary>
internal static class NnCases
{
    private const int Rows = 14, Width = 24, Classes = 40;

    private static readonly (string, Draw, long[]) X = ("x", Draw.Normal, [2, 7, Width]);
    private static readonly (string, Draw, long[]) G = ("g", Draw.Normal, [2, 7, Width]);
    private static readonly (string, Draw, long[]) Residual = ("residual", Draw.Normal, [2, 7, Width]);
    private static readonly (string, Draw, long[]) Weight = ("weight", Draw.Normal, [Width]);
    private static readonly (string, Draw, long[]) Bias = ("bias", Draw.Normal, [Width]);
    private static readonly (string, Draw, long[]) Head = ("weight", Draw.Normal, [Classes, Width]);

    public static IEnumerable<OpCase> All =>
    [
        new("cross_entropy", [("logits", Draw.Normal, [Rows, Classes])], t => [cross_entropy(t[0], Labels(), new() { LabelSmoothing = 0.1f })],
            t => [nn.functional.cross_entropy(t[0], Labels(), label_smoothing: 0.1)]),
        new("cross_entropy_with_z_loss", [("logits", Draw.Normal, [Rows, Classes])], t => [cross_entropy_with_z_loss(t[0], Labels(), new() { LseSquareScale = 0.1f }).loss],
            t => [nn.functional.cross_entropy(t[0], Labels()) + (0.1 * t[0].logsumexp(-1).square() * Labels().ge(0).to(ScalarType.Float64)).sum() / Labels().ge(0).sum()]),
        new("fused_linear_cross_entropy", [("x", Draw.Normal, [Rows, Width]), Head, ("bias", Draw.Normal, [Classes])],
            t => [fused_linear_cross_entropy(t[0], Labels(), t[1], t[2])], t => [nn.functional.cross_entropy(t[0].matmul(t[1].t()) + t[2], Labels())]),
        new("fused_linear_kl_divergence", [("x", Draw.Normal, [Rows, Width]), Head], t => [fused_linear_kl_divergence(t[0], Teacher().Item1, t[1], Teacher().Item2)],
            t =>
            {
                var (target, head) = Teacher();
                var teacher = target.to(ScalarType.Float64).matmul(head.to(ScalarType.Float64).t()).log_softmax(-1);
                return [(teacher.exp() * (teacher - t[0].matmul(t[1].t()).log_softmax(-1))).sum() / Rows];
            }),
        new("shift_labels", [("x", Draw.Normal, [2, 3])], t => [shift_labels((t[0] * 10).to(ScalarType.Int32))],
            t => [torch.cat([(t[0] * 10).to(ScalarType.Int32).narrow(1, 1, 2), torch.full([2, 1], -100, dtype: ScalarType.Int32)], 1)]) { HasGradients = false },
        new("rms_norm", [X, Weight, Bias, Residual], t => [rms_norm(t[0], t[1], t[2], t[3])], t => [Formulas.Rms(t[0] + t[3]) * t[1] + t[2]]),
        new("rms_norm_prenorm", [X, Weight, Residual], t => Both(rms_norm_prenorm(t[0], t[1], residual: t[2])), t => [Formulas.Rms(t[0] + t[2]) * t[1], t[0] + t[2]]),
        new("layer_norm", [X, Weight, Bias], t => [layer_norm(t[0], t[1], t[2])], t => [Formulas.Layer(t[0]) * t[1] + t[2]]),
        new("layer_norm_prenorm", [X, Weight, Bias, Residual], t => Both(layer_norm_prenorm(t[0], t[1], t[2], t[3])), t => [Formulas.Layer(t[0] + t[3]) * t[1] + t[2], t[0] + t[3]]),
        new("group_norm", [X, Weight, Bias], t => [group_norm(t[0], 3, t[1], t[2])], t => [Formulas.Layer(Groups(t[0])).reshape(t[0].shape) * t[1] + t[2]]),
        new("group_norm_prenorm", [X, Weight, Residual], t => Both(group_norm_prenorm(t[0], 3, t[1], residual: t[2], is_rms_norm: true)),
            t => [Formulas.Rms(Groups(t[0] + t[2])).reshape(t[0].shape) * t[1], t[0] + t[2]]),
        new("fused_rms_norm_gated", [X, G, Weight], t => [fused_rms_norm_gated(t[0], t[1], t[2])], t => [Formulas.Rms(t[0]) * t[2] * nn.functional.silu(t[1])]),
        new("fused_rms_norm_gated_prenorm", [X, G, Weight, Residual], t => Both(fused_rms_norm_gated_prenorm(t[0], t[1], t[2], t[3])),
            t => [Formulas.Rms(t[0] + t[3]) * t[2] * nn.functional.silu(t[1]), t[0] + t[3]]),
        new("fused_layer_norm_gated", [X, G, Weight, Bias], t => [fused_layer_norm_gated(t[0], t[1], t[2], t[3], activation: NormGate.Sigmoid)],
            t => [(Formulas.Layer(t[0]) * t[2] + t[3]) * t[1].sigmoid()]),
        new("fused_layer_norm_gated_prenorm", [X, G, Weight, Bias, Residual], t => Both(fused_layer_norm_gated_prenorm(t[0], t[1], t[2], t[3], t[4])),
            t => [(Formulas.Layer(t[0] + t[4]) * t[2] + t[3]) * nn.functional.silu(t[1]), t[0] + t[4]]),
        new("norm_gated", [X, G, Weight], t => [norm_gated(t[0], t[1], t[2])], t => [Formulas.Rms(t[0] * nn.functional.silu(t[1])) * t[2]]),
        new("l2_norm", [X], t => [l2_norm(t[0])], t => [t[0] * torch.rsqrt(t[0].square().sum(-1, keepdim: true) + 1e-6)]),
        new("hedgehog", [X], t => [hedgehog(t[0])], t => [torch.cat([2 * t[0], -2 * t[0]], -1).softmax(-1)]),
        new("dpfp", [X], t => [dpfp(t[0], 2)], t => [Formulas.Dpfp(t[0], 2)]),
        new("rotary", [("x", Draw.Normal, [2, 7, 2, Width])], t => [rotary(t[0])], t => [Formulas.Rotary(t[0])]),
        new("token_shift", [X], t => [token_shift(t[0]).delta], t => [torch.cat([torch.zeros([2, 1, Width], dtype: t[0].dtype), t[0].narrow(1, 0, 6)], 1) - t[0]]),
        new("short_convolution", [X, ("weight", Draw.Normal, [Width, 1, 4]), Bias], t => [short_convolution(t[0], t[1], t[2], activation: ConvolutionActivation.Silu).y],
            t => [Formulas.Convolve(t[0], t[1], t[2])]),
    ];

    private static Tensor[] Both((Tensor, Tensor) results) => [results.Item1, results.Item2];

    private static Tensor Labels() => torch.tensor(Enumerable.Range(0, Rows).Select(i => i == 3 ? -100L : i * 7 % Classes).ToArray());

    private static (Tensor, Tensor) Teacher()
    {
        using var generator = new Generator(5);
        return (torch.randn([Rows, 16], generator: generator), torch.randn([Classes, 16], generator: generator));
    }

    private static Tensor Groups(Tensor x) => x.reshape([.. x.shape[..^1], 3, x.shape[^1] / 3]);
}
