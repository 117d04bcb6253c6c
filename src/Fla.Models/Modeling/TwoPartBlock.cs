using Fla.Layers;
using Fla.Models.Configs;
using Fla.Vulkan;

namespace Fla.Models;

/// <summary>A block of a mixer and an MLP, each behind a norm.</summary>
internal abstract class TwoPartBlock : Block
{
    protected TwoPartBlock(ComputeDevice device, ModelConfig config, int layer, DType dtype)
        : base(device, dtype)
    {
        MixerNorm = AddModule("attn_norm", () => config.CreateNorm(device, dtype));
        Mixer = AddModule("attn", () => config.MixerAt(device, layer, dtype));
        MlpNorm = AddModule("mlp_norm", () => config.CreateNorm(device, dtype));
        Mlp = AddModule("mlp", () => new GatedMlp(device, config.HiddenSize, config.MlpWidth, config.HiddenAct, dtype));
    }

    public override bool UsesCuSeqlens => Mixer.UsesCuSeqlens;

    protected Norm MixerNorm { get; }

    protected TokenMixer Mixer { get; }

    protected Norm MlpNorm { get; }

    protected GatedMlp Mlp { get; }
}
