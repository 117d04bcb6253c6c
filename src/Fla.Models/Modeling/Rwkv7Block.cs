using Fla.Layers;
using Fla.Models.Configs;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Models;

/// <summary>RWKV-7's block: time mixing and channel mixing. The values of the first layer go up with the residual stream, which that layer norms at first.</summary>
internal sealed class Rwkv7Block : Block
{
    private readonly Norm? _preNorm;
    private readonly Norm _mixerNorm;
    private readonly Rwkv7Attention _mixer;
    private readonly Norm _ffnNorm;
    private readonly Rwkv7FeedForward _ffn;

    public Rwkv7Block(ComputeDevice device, Rwkv7Config config, int layer, DType dtype)
        : base(device, dtype)
    {
        if (config.NormFirst && layer == 0) _preNorm = AddModule("pre_norm", () => config.CreateNorm(device, dtype));
        _mixerNorm = AddModule("attn_norm", () => config.CreateNorm(device, dtype));
        _mixer = AddModule("attn", () => config.CreateMixer(device, layer, dtype));
        _ffnNorm = AddModule("ffn_norm", () => config.CreateNorm(device, dtype));
        _ffn = AddModule("ffn", () =>
            new Rwkv7FeedForward(device, config.HiddenSize, config.MlpWidth, config.HiddenAct, layer, config.NumHiddenLayers, dtype));
    }

    public override bool UsesCuSeqlens => _mixer.UsesCuSeqlens;

    public override Tensor[] Forward(Tensor[] streams, MixerContext context)
    {
        using var scope = Device.Scope();
        var x = _preNorm?.Forward(streams[0]) ?? streams[0];
        var (mixed, vFirst) = _mixer.Forward(_mixerNorm.Forward(x), streams.ElementAtOrDefault(1), context);
        var (normed, residual) = _ffnNorm.Forward(mixed, x);
        return [scope.Keep(Elementwise.Add(_ffn.Forward(normed, context), residual)), scope.Keep(vFirst)];
    }
}
