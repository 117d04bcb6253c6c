using Fla.Layers;
using Fla.Models.Configs;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Models;

/// <summary>One block of the trunk: x + mixer(norm(x)), then that plus mlp(norm of it).</summary>
internal sealed class Block : Module
{
    private readonly RmsNorm _mixerNorm;
    private readonly TokenMixer _mixer;
    private readonly RmsNorm _mlpNorm;
    private readonly GatedMlp _mlp;

    public Block(ComputeDevice device, ModelConfig config, int layer, DType dtype)
        : base(device, dtype)
    {
        _mixerNorm = AddModule("attn_norm", () => new RmsNorm(device, config.HiddenSize, config.NormEps, dtype: dtype));
        _mixer = AddModule("attn", () => MixerRegistry.Create(device, config, layer, dtype));
        _mlpNorm = AddModule("mlp_norm", () => new RmsNorm(device, config.HiddenSize, config.NormEps, dtype: dtype));
        _mlp = AddModule("mlp", () => new GatedMlp(device, config.HiddenSize, config.MlpWidth, config.HiddenAct, dtype));
    }

    /// <summary>Whether packed sequences stay apart.</summary>
    public bool UsesCuSeqlens => _mixer.UsesCuSeqlens;

    /// <summary>[B, T, D] to [B, T, D]; what is made in between lives on only on the tape.</summary>
    public Tensor Forward(Tensor x, MixerContext context)
    {
        using var scope = Device.Scope();
        var mixed = _mixer.Forward(_mixerNorm.Forward(x), context);
        var (normed, residual) = _mlpNorm.Forward(mixed, x);
        return scope.Keep(Elementwise.Add(_mlp.Forward(normed), residual));
    }
}
