using Fla.Layers;
using Fla.Models.Configs;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Models;

/// <summary>x + mixer(norm(x)), then that plus mlp(norm of it).</summary>
internal sealed class MixerBlock : Block
{
    private readonly Norm _mixerNorm;
    private readonly TokenMixer _mixer;
    private readonly Norm _mlpNorm;
    private readonly GatedMlp _mlp;

    public MixerBlock(ComputeDevice device, ModelConfig config, int layer, DType dtype)
        : base(device, dtype)
    {
        _mixerNorm = AddModule("attn_norm", () => config.CreateNorm(device, dtype));
        _mixer = AddModule("attn", () => config.MixerAt(device, layer, dtype));
        _mlpNorm = AddModule("mlp_norm", () => config.CreateNorm(device, dtype));
        _mlp = AddModule("mlp", () => new GatedMlp(device, config.HiddenSize, config.MlpWidth, config.HiddenAct, dtype));
    }

    public override bool UsesCuSeqlens => _mixer.UsesCuSeqlens;

    public override Tensor[] Forward(Tensor[] streams, MixerContext context)
    {
        using var scope = Device.Scope();
        if (context.Mask is null && DecodeProducts.Takes(streams[0])) return [scope.Keep(_mlp.ForwardResidual(_mixer.ForwardResidual(streams[0], _mixerNorm, context), _mlpNorm))];
        var mixed = _mixer.Forward(_mixerNorm.Forward(streams[0]), context);
        var (normed, residual) = _mlpNorm.Forward(mixed, streams[0]);
        return [scope.Keep(Elementwise.Add(_mlp.Forward(normed), residual))];
    }
}
