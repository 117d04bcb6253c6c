using Fla.Layers;
using Fla.Models.Configs;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Models;

/// <summary>x + mixer(norm(x)), then that plus mlp(norm of it).</summary>
internal sealed class MixerBlock(ComputeDevice device, ModelConfig config, int layer, DType dtype) : TwoPartBlock(device, config, layer, dtype)
{
    public override Tensor[] Forward(Tensor[] streams, MixerContext context)
    {
        using var scope = Device.Scope();
        if (context.Mask is null && DecodeProducts.Takes(streams[0])) return [scope.Keep(Mlp.ForwardResidual(Mixer.ForwardResidual(streams[0], MixerNorm, context), MlpNorm))];
        var mixed = Mixer.Forward(MixerNorm.Forward(streams[0]), context);
        var (normed, residual) = MlpNorm.Forward(mixed, streams[0]);
        return [scope.Keep(Elementwise.Add(Mlp.Forward(normed), residual))];
    }
}
